//! The launchd job: launchd.plist(5), an XML property list.

use super::{UnitError, fill, login_name, printable};

const TEMPLATE: &str = include_str!("../../../profiles/units/launchd.plist.in");

/// What the job of one agent says.
#[derive(Clone, Copy)]
pub struct Launchd<'a> {
    /// Reverse-DNS label; also the file's name before `.plist`.
    pub label: &'a str,
    /// Program and arguments.
    pub command: &'a [String],
    /// `UserName` of a daemon; `None` for root and for agents of a login user.
    pub user: Option<&'a str>,
    /// Where both outputs go.
    pub log: &'a str,
}

impl Launchd<'_> {
    /// The property list.
    pub fn render(&self) -> Result<String, UnitError> {
        let label_fits = |b: u8| b.is_ascii_alphanumeric() || b".-_".contains(&b);
        if self.label.is_empty() || self.label.len() > 200 || !self.label.bytes().all(label_fits) {
            let expected = "a label of letters, digits and .-_";
            return Err(UnitError::Unfit {
                field: "label",
                found: self.label.to_owned(),
                expected,
            });
        }
        printable("log", self.log)?;
        let mut words = String::new();
        for argument in self.command {
            printable("argument", argument)?;
            words.push_str(&format!("\t\t<string>{}</string>\n", xml(argument)));
        }
        let user = match self.user {
            Some(name) => {
                login_name(name)?;
                format!("\t<key>UserName</key>\n\t<string>{}</string>", xml(name))
            }
            None => String::new(),
        };
        fill(
            TEMPLATE,
            &[
                ("LABEL", self.label),
                ("PROGRAM_ARGUMENTS", words.trim_end_matches('\n')),
                ("USER", &user),
                ("LOG", &xml(self.log)),
            ],
        )
    }
}

/// XML 1.0 character data.
fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            c => out.push(c),
        }
    }
    out
}
