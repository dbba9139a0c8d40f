//! A file of entries with fields between colons: passwd(5), shadow(5), group(5), gshadow(5). Every line that is not
//! touched keeps its bytes, whatever they are.

/// One file, as lines without their newline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    lines: Vec<Vec<u8>>,
    /// Whether the last line ends with a newline.
    ended: bool,
}

impl Table {
    pub(crate) fn read(bytes: &[u8]) -> Self {
        let ended = bytes.is_empty() || bytes.ends_with(b"\n");
        let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let lines = if body.is_empty() && ended && bytes.len() < 2 {
            if bytes.is_empty() { Vec::new() } else { vec![Vec::new()] }
        } else {
            body.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect()
        };
        Self { lines, ended }
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let mut bytes = self.lines.join(&b'\n');
        if self.ended && !self.lines.is_empty() {
            bytes.push(b'\n');
        }
        bytes
    }

    /// Where the entry of `name` stands. Lines of NIS (`+name`) and comments are none.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.lines
            .iter()
            .position(|line| line.split(|b| *b == b':').next() == Some(name.as_bytes()) && line.contains(&b':'))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// All entries: the places of lines with fields.
    pub(crate) fn entries(&self) -> impl Iterator<Item = usize> {
        let entry = |line: &Vec<u8>| line.contains(&b':') && !matches!(line.first(), Some(b'+' | b'-' | b'#' | b':'));
        (0..self.lines.len()).filter(move |at| entry(&self.lines[*at]))
    }

    pub(crate) fn field(&self, at: usize, number: usize) -> &[u8] {
        self.lines[at].split(|b| *b == b':').nth(number).unwrap_or_default()
    }

    pub(crate) fn text(&self, at: usize, number: usize) -> String {
        String::from_utf8_lossy(self.field(at, number)).into_owned()
    }

    pub(crate) fn id(&self, at: usize, number: usize) -> Option<u32> {
        std::str::from_utf8(self.field(at, number)).ok()?.parse().ok()
    }

    /// Names between commas.
    pub(crate) fn names(&self, at: usize, number: usize) -> Vec<String> {
        let text = self.text(at, number);
        text.split(',').filter(|n| !n.is_empty()).map(str::to_owned).collect()
    }

    /// Sets one field and leaves the others. The caller has checked that `value` holds no colon and no newline.
    pub(crate) fn set(&mut self, at: usize, number: usize, value: &str) {
        let mut fields: Vec<&[u8]> = self.lines[at].split(|b| *b == b':').collect();
        while fields.len() <= number {
            fields.push(b"");
        }
        fields[number] = value.as_bytes();
        self.lines[at] = fields.join(&b':');
    }

    /// A new entry: after all others, but before the first line of NIS, which has to come last.
    pub(crate) fn add(&mut self, fields: &[&str]) {
        let nis = self.lines.iter().position(|l| matches!(l.first(), Some(b'+' | b'-')));
        let at = nis.unwrap_or(self.lines.len());
        self.lines.insert(at, fields.join(":").into_bytes());
        self.ended = true;
    }

    pub(crate) fn remove(&mut self, at: usize) {
        self.lines.remove(at);
    }
}

#[cfg(test)]
mod tests {
    use super::Table;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_not_touched_keeps_its_bytes(bytes in prop::collection::vec(
            prop::sample::select(vec![b'a', b':', b'\n', b'#', b'+', 0xff, b' ']), 0..60)) {
            prop_assert_eq!(Table::read(&bytes).write(), bytes);
        }
    }

    #[test]
    fn an_entry_is_changed_in_its_place_and_added_before_the_lines_of_nis() {
        let mut table = Table::read(b"# kept\nroot:x:0:\n\nlp:x:7:a,b\n+::\n");
        let lp = table.find("lp").unwrap();
        table.set(lp, 3, "a");
        table.add(&["new", "x", "100", ""]);
        assert_eq!(table.write(), b"# kept\nroot:x:0:\n\nlp:x:7:a\nnew:x:100:\n+::\n");
        assert_eq!((table.find("# kept"), table.find("+")), (None, Some(5)));
    }
}
