//! What a form sent: fields, and files where it had some.

/// A file as it was sent: the name that the browser said, and its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
}

/// A form.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Form {
    fields: Vec<(String, String)>,
    pub(super) files: Vec<File>,
}

impl Form {
    /// Reads what was sent; nothing where it cannot be read.
    pub(super) fn read(kind: &str, body: &[u8]) -> Option<Self> {
        let (kind, parameters) = kind.split_once(';').unwrap_or((kind, ""));
        match kind.trim() {
            "application/x-www-form-urlencoded" => Some(Self {
                fields: form_urlencoded::parse(body).into_owned().collect(),
                files: Vec::new(),
            }),
            "multipart/form-data" => {
                let boundary = parameters.trim().strip_prefix("boundary=")?.trim_matches('"');
                (!boundary.is_empty() && boundary.len() <= 70).then(|| multipart(boundary, body))?
            }
            _ => None,
        }
    }

    /// A field without the white space around it; empty where it is not there.
    pub(super) fn get(&self, name: &str) -> &str {
        self.exact(name).trim()
    }

    /// A field as it was sent.
    pub(super) fn exact(&self, name: &str) -> &str {
        let found = self.fields.iter().find(|(n, _)| n == name);
        found.map_or("", |(_, value)| value.as_str())
    }
}

/// RFC 7578, as browsers send it.
fn multipart(boundary: &str, body: &[u8]) -> Option<Form> {
    let delimiter = format!("\r\n--{boundary}").into_bytes();
    // The first delimiter has no line before it.
    let mut rest = body.strip_prefix(&delimiter[2..])?;
    let mut form = Form::default();
    while let Some(part) = rest.strip_prefix(b"\r\n") {
        let end = find(part, &delimiter)?;
        let (part, after) = (&part[..end], &part[end + delimiter.len()..]);
        rest = after;
        let head = find(part, b"\r\n\r\n")?;
        let (head, content) = (std::str::from_utf8(&part[..head]).ok()?, &part[head + 4..]);
        let line = head
            .lines()
            .find(|line| line.to_ascii_lowercase().starts_with("content-disposition:"))?;
        let name = parameter(line, "name")?;
        match parameter(line, "filename") {
            // A browser sends a file without a name where none was chosen.
            Some(file) if file.is_empty() && content.is_empty() => {}
            Some(file) => form.files.push(File {
                name: file,
                bytes: content.to_vec(),
            }),
            None => form.fields.push((name, String::from_utf8(content.to_vec()).ok()?)),
        }
    }
    rest.starts_with(b"--").then_some(form)
}

/// `name="…"`, with the three escapes that browsers write.
fn parameter(line: &str, name: &str) -> Option<String> {
    let (_, rest) = line.split_once(&format!("; {name}=\""))?;
    let (value, _) = rest.split_once('"')?;
    Some(value.replace("%22", "\"").replace("%0D", "\r").replace("%0A", "\n"))
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_files_come_out_as_they_went_in() {
        let body = b"--B\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\ngreeter\r\n\
            --B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a%22b.wasm\"\r\nContent-Type: application/wasm\r\n\r\n\0asm\r\n--b\xff\r\n\
            --B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"\"\r\n\r\n\r\n--B--\r\n";
        let form = Form::read("multipart/form-data; boundary=B", body).expect("a form");
        assert_eq!(form.get("name"), "greeter");
        let file = File {
            name: "a\"b.wasm".into(),
            bytes: b"\0asm\r\n--b\xff".to_vec(),
        };
        assert_eq!(form.files, [file]);
        let form = Form::read("application/x-www-form-urlencoded", b"a=+x+&b=%3C").expect("a form");
        assert_eq!(
            (form.get("a"), form.exact("a"), form.get("b"), form.get("c")),
            ("x", " x ", "<", "")
        );
    }

    #[test]
    fn what_is_cut_short_is_no_form() {
        let whole = b"--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx\r\n--B--";
        assert!(Form::read("multipart/form-data; boundary=B", whole).is_some());
        for end in 0..whole.len() {
            assert_eq!(
                Form::read("multipart/form-data; boundary=B", &whole[..end]),
                None,
                "{end}"
            );
        }
        assert_eq!(Form::read("text/plain", b"a=b"), None);
        assert_eq!(Form::read("multipart/form-data", whole), None);
    }
}
