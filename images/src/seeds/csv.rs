//! Tables as spreadsheets write them (RFC 4180), with the place of every field. A field stays on its line; lines may end with
//! CR LF; the separator is a comma, or a semicolon where the first line has one and no comma.

use jos_schemas::report::Issue;

/// A field with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its value, without quotes.
    pub text: String,
    /// From 1.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
}

impl Field {
    /// What is wrong with it. The line itself is never shown: it may hold secrets.
    pub fn issue(&self, message: impl Into<String>) -> Issue {
        Issue {
            line: self.line,
            column: self.column,
            ..Issue::new(message)
        }
    }
}

/// The rows of a table; empty lines are none.
///
/// # Errors
/// An issue at the quote that does not end, or at what follows one that does.
pub fn rows(text: &str) -> Result<Vec<Vec<Field>>, Box<Issue>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let first = text.lines().next().unwrap_or_default();
    let separator = if first.contains(';') && !first.contains(',') {
        ';'
    } else {
        ','
    };
    let mut rows = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if !line.trim().is_empty() {
            rows.push(row(line, number, separator)?);
        }
    }
    Ok(rows)
}

fn row(line: &str, number: u32, separator: char) -> Result<Vec<Field>, Box<Issue>> {
    let chars: Vec<char> = line.chars().collect();
    let column = |at: usize| u32::try_from(at + 1).unwrap_or(u32::MAX);
    let mut fields = Vec::new();
    let mut at = 0;
    loop {
        let start = at;
        let mut field = Field {
            text: String::new(),
            line: number,
            column: column(start),
        };
        if chars.get(at) == Some(&'"') {
            at += 1;
            loop {
                match (chars.get(at), chars.get(at + 1)) {
                    (Some('"'), Some('"')) => {
                        field.text.push('"');
                        at += 2;
                    }
                    (Some('"'), _) => break,
                    (Some(c), _) => {
                        field.text.push(*c);
                        at += 1;
                    }
                    (None, _) => {
                        let help = "end the field with another \" on the same line; a \" in it is written twice";
                        return Err(field.issue("a quote that does not end").help(help).into());
                    }
                }
            }
            at += 1;
            if chars.get(at).is_some_and(|c| *c != separator) {
                field.column = column(at);
                let help = format!("expected {separator:?} or the end of the line; a \" in a field is written twice");
                return Err(field.issue("something after the closing quote").help(help).into());
            }
        } else {
            while let Some(c) = chars.get(at).filter(|c| **c != separator) {
                field.text.push(*c);
                at += 1;
            }
            field.text = field.text.trim().to_owned();
        }
        fields.push(field);
        if at >= chars.len() {
            return Ok(fields);
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<Vec<String>> {
        let rows = rows(text).expect("a table");
        rows.into_iter()
            .map(|row| row.into_iter().map(|f| f.text).collect())
            .collect()
    }

    #[test]
    fn a_table_is_read_as_spreadsheets_write_it() {
        let text = "\u{feff}name,ssid\r\nkiosk-1,\"a, \"\"b\"\"\"\r\n\r\nkiosk-2 ,\r\n";
        assert_eq!(
            texts(text),
            [["name", "ssid"], ["kiosk-1", "a, \"b\""], ["kiosk-2", ""]]
        );
        assert_eq!(texts("name;ssid\na;b,c\n"), [["name", "ssid"], ["a", "b,c"]]);
    }

    #[test]
    fn every_field_knows_its_line_and_column() {
        let rows = rows("name,ssid\n\n\"ä\",x\n").expect("a table");
        let last = &rows[1][1];
        assert_eq!((last.line, last.column), (3, 5));
    }

    #[test]
    fn a_quote_that_does_not_end_is_told_where_it_begins() {
        let issue = rows("name\na,\"b\n").expect_err("it is refused");
        assert_eq!((issue.line, issue.column), (2, 3));
        let issue = rows("name\n\"a\"b\n").expect_err("it is refused");
        assert_eq!((issue.line, issue.column), (2, 4));
        assert!(issue.excerpt.is_none());
    }
}
