//! The writer: changes what it is told and no other line.
//!
//! An edit replaces, inserts or removes whole lines; in a replaced line the indent and a comment behind the value stay.
//! Then the result is read again and held against what was meant: a file so written that an edit would change more is
//! left alone.

use std::collections::BTreeSet;

use super::read::{Command, Line, Says};
use super::{Config, EditError, Section, Value, is_name, made_up};

impl Config {
    /// Gives an option a value. False when it has it already.
    pub fn set(&mut self, section: usize, option: &str, value: &Value) -> Result<bool, EditError> {
        check(option, value)?;
        if self.sections[section].get(option) == Some(value) {
            return Ok(false);
        }
        let mut wanted = self.sections.clone();
        let options = &mut wanted[section].options;
        match options.iter_mut().find(|(n, _)| n == option) {
            Some((_, old)) => *old = value.clone(),
            None => options.push((option.to_owned(), value.clone())),
        }
        let says: Vec<Says> = match value {
            Value::One(v) => vec![Says::Option {
                name: option.to_owned(),
                value: v.clone(),
            }],
            Value::Many(items) => {
                let item = |v: &Vec<u8>| Says::Item {
                    name: option.to_owned(),
                    value: v.clone(),
                };
                items.iter().map(item).collect()
            }
        };
        let mut next = self.clone();
        next.stand_alone(section, |o| o.is_none_or(|o| o == option))?;
        next.put(section, option, &says);
        self.accept(next, &wanted)?;
        Ok(true)
    }

    /// Takes an option away. False when it is not there.
    pub fn unset(&mut self, section: usize, option: &str) -> Result<bool, EditError> {
        let mut wanted = self.sections.clone();
        let options = &mut wanted[section].options;
        let Some(at) = options.iter().position(|(n, _)| n == option) else {
            return Ok(false);
        };
        options.remove(at);
        let mut next = self.clone();
        next.stand_alone(section, |o| o == Some(option))?;
        let gone = next.spots(section, option).into_iter().collect();
        next.drop_lines(&gone);
        self.accept(next, &wanted)?;
        Ok(true)
    }

    /// A new section at the end; gives its place.
    pub fn add(&mut self, kind: &str, name: Option<&str>) -> Result<usize, EditError> {
        if kind.is_empty() || !kind.bytes().all(|b| b.is_ascii_graphic()) || name.is_some_and(|n| !is_name(n)) {
            return Err(EditError::Unwritable("this is no name or type of a UCI section"));
        }
        if name.is_some_and(|n| self.named(n).is_some()) {
            return Err(EditError::Unwritable("a section of this name is there already"));
        }
        let mut wanted = self.sections.clone();
        let place = wanted.len();
        let full = name.map_or_else(|| made_up(place + 1, kind), str::to_owned);
        wanted.push(Section {
            kind: kind.to_owned(),
            name: full,
            anonymous: name.is_none(),
            options: Vec::new(),
        });
        let mut next = self.clone();
        if let Some(last) = next.lines.pop_if(|last| is_open(last)) {
            next.lines.extend(apart(&last));
        }
        if let Some(last) = next.lines.last_mut() {
            end_with_newline(last);
            if !is_blank(last) {
                next.lines.push(comment_line(b"\n"));
            }
        }
        let says = Says::Config {
            kind: kind.to_owned(),
            name: name.map(str::to_owned),
        };
        next.lines.push(new_line(b"", &says));
        self.accept(next, &wanted)?;
        Ok(place)
    }

    /// Gives a named section another type. False when it has it already.
    pub fn retype(&mut self, section: usize, kind: &str) -> Result<bool, EditError> {
        let Section { kind: old, name, .. } = &self.sections[section];
        if old == kind {
            return Ok(false);
        }
        let says = Says::Config {
            kind: kind.to_owned(),
            name: Some(name.clone()),
        };
        let mut wanted = self.sections.clone();
        kind.clone_into(&mut wanted[section].kind);
        let mut next = self.clone();
        next.stand_alone(section, |o| o.is_none())?;
        for (line, _) in next.places[section].heads.clone() {
            rewrite(&mut next.lines[line], &says);
        }
        self.accept(next, &wanted)?;
        Ok(true)
    }

    /// Takes a section away, with the comments between its lines.
    pub fn remove(&mut self, section: usize) -> Result<(), EditError> {
        let mut wanted = self.sections.clone();
        wanted.remove(section);
        for (at, s) in wanted.iter_mut().enumerate().filter(|(_, s)| s.anonymous) {
            s.name = made_up(at + 1, &s.kind);
        }
        let mut next = self.clone();
        next.stand_alone(section, |_| true)?;
        let places = &next.places[section];
        let heads: BTreeSet<usize> = places.heads.iter().map(|(l, _)| *l).collect();
        let mut gone: BTreeSet<usize> = places
            .options
            .iter()
            .map(|(_, (l, _))| *l)
            .chain(heads.iter().copied())
            .collect();
        let own: Vec<usize> = gone.iter().copied().collect();
        for pair in own.windows(2) {
            let between = pair[0] + 1..pair[1];
            if !heads.contains(&pair[1]) && between.clone().all(|l| next.lines[l].commands.is_empty()) {
                gone.extend(between);
            }
        }
        // The blank line that set it apart goes too.
        for head in heads {
            let blank = |l: usize| next.lines.get(l).is_none_or(is_blank);
            let end = (head..).find(|l| !gone.contains(l)).unwrap_or(head);
            if head > 0 && blank(head - 1) && blank(end) {
                gone.insert(head - 1);
            } else if head == 0 && end < next.lines.len() && blank(end) {
                gone.insert(end);
            }
        }
        next.drop_lines(&gone);
        self.accept(next, &wanted)
    }

    /// Lines that name an option of a section.
    fn spots(&self, section: usize, option: &str) -> Vec<usize> {
        let named = self.places[section].options.iter().filter(|(n, _)| n == option);
        named.map(|(_, (line, _))| *line).collect()
    }

    /// Puts the commands of one option where it stood, or behind the last line of its section.
    fn put(&mut self, section: usize, option: &str, says: &[Says]) {
        let empty = |line: &usize| matches!(&self.lines[*line].commands[0].says, Says::Option { value, .. } if value.is_empty());
        // What says nothing goes: it could say something once the lines around it change.
        let (idle, old): (Vec<usize>, Vec<usize>) = self.spots(section, option).into_iter().partition(empty);
        let mut gone: BTreeSet<usize> = idle.into_iter().collect();
        let is = |line: usize, says: &Says| self.lines[line].commands[0].says == *says;
        let same_start = old.iter().zip(says).take_while(|(l, s)| is(**l, s)).count();
        let most = old.len().min(says.len());
        // The first line stays where it is, for that is the option's place among the others.
        let most_end = if same_start == 0 {
            most.saturating_sub(1)
        } else {
            most - same_start
        };
        let same_end = old
            .iter()
            .rev()
            .zip(says.iter().rev())
            .take(most_end)
            .take_while(|(l, s)| is(**l, s))
            .count();
        let (old_middle, new_middle) = (
            &old[same_start..old.len() - same_end],
            &says[same_start..says.len() - same_end],
        );
        let places = &self.places[section];
        let all = places
            .heads
            .iter()
            .map(|(l, _)| *l)
            .chain(places.options.iter().map(|(_, (l, _))| *l));
        let last = all.max().unwrap_or_default();
        let like = old.first().or(places.options.last().map(|(_, (l, _))| l)).copied();
        let indent = like.map_or(b"\t".to_vec(), |l| {
            self.lines[l].raw[..self.lines[l].commands[0].start].to_vec()
        });
        for (line, says) in old_middle.iter().zip(new_middle) {
            rewrite(&mut self.lines[*line], says);
        }
        gone.extend(old_middle.iter().skip(new_middle.len()));
        let more: Vec<Line> = new_middle
            .iter()
            .skip(old_middle.len())
            .map(|s| new_line(&indent, s))
            .collect();
        if !more.is_empty() {
            let behind = (same_start + old_middle.len()).checked_sub(1).map_or(last, |n| old[n]);
            end_with_newline(&mut self.lines[behind]);
            let at = behind + 1;
            gone = gone
                .into_iter()
                .map(|l| if l >= at { l + more.len() } else { l })
                .collect();
            self.lines.splice(at..at, more);
        }
        self.drop_lines(&gone);
    }

    fn drop_lines(&mut self, gone: &BTreeSet<usize>) {
        let mut at = 0;
        self.lines.retain(|_| {
            at += 1;
            !gone.contains(&(at - 1))
        });
    }

    /// Gives each command of a section a line of its own, as far as it will be touched: those of the options that
    /// `touched` names, its heads (`None`), and its last line, behind which new ones go.
    fn stand_alone(&mut self, section: usize, touched: impl Fn(Option<&str>) -> bool) -> Result<(), EditError> {
        let places = &self.places[section];
        let heads = places.heads.iter().map(|(l, _)| (*l, touched(None)));
        let options = places.options.iter().map(|(n, (l, _))| (*l, touched(Some(n))));
        let all: Vec<(usize, bool)> = heads.chain(options).collect();
        let last = all.iter().map(|(l, _)| *l).max();
        let lines: BTreeSet<usize> = all
            .into_iter()
            .filter(|(l, t)| *t || Some(*l) == last)
            .map(|(l, _)| l)
            .collect();
        let odd = |line: &Line| line.commands.len() > 1 || !line.plain_end || is_open(line);
        if !lines.iter().any(|l| odd(&self.lines[*l])) {
            return Ok(());
        }
        let mut next = self.clone();
        next.lines.clear();
        for (at, line) in self.lines.iter().enumerate() {
            if !lines.contains(&at) || !odd(line) {
                next.lines.push(line.clone());
                continue;
            }
            next.lines.extend(apart(line));
        }
        let wanted = self.sections.clone();
        self.accept(next, &wanted)
    }

    /// Takes `next` if it reads as `wanted`.
    fn accept(&mut self, next: Config, wanted: &[Section]) -> Result<(), EditError> {
        let again = Config::read(&next.to_bytes()).map_err(|_| EditError::Differs)?;
        if again.sections != wanted {
            return Err(EditError::Differs);
        }
        *self = again;
        Ok(())
    }
}

fn check(option: &str, value: &Value) -> Result<(), EditError> {
    if !is_name(option) {
        return Err(EditError::Unwritable(
            "the name of an option has letters, digits and '_' only",
        ));
    }
    let items = match value {
        Value::One(v) if v.is_empty() => {
            return Err(EditError::Unwritable("UCI knows no empty option; remove it instead"));
        }
        Value::Many(v) if v.is_empty() => {
            return Err(EditError::Unwritable("UCI knows no empty list; remove it instead"));
        }
        Value::One(v) => std::slice::from_ref(v),
        Value::Many(v) => v,
    };
    if items.iter().flatten().any(|b| *b == 0) {
        return Err(EditError::Unwritable("a value contains a NUL byte"));
    }
    Ok(())
}

fn is_blank(line: &Line) -> bool {
    line.raw.iter().all(u8::is_ascii_whitespace)
}

/// The commands of a line, each on a line of its own.
fn apart(line: &Line) -> impl Iterator<Item = Line> {
    line.commands.iter().enumerate().map(|(n, command)| {
        let own = if n == 0 { &line.raw[..command.start] } else { &b"\t"[..] };
        let indent = if matches!(command.says, Says::Config { .. }) {
            &b""[..]
        } else {
            own
        };
        new_line(indent, &command.says)
    })
}

/// Whether a line that ends the file would read as something else with a newline behind it: it would take in what comes
/// next, or libuci would miss a command behind its last `;`.
fn is_open(line: &Line) -> bool {
    let raw = line.raw.strip_suffix(b"\r").unwrap_or(&line.raw);
    !line.commands.is_empty() && !raw.ends_with(b"\n") && (!line.plain_end || raw.ends_with(b"\\"))
}

fn end_with_newline(line: &mut Line) {
    if !line.raw.ends_with(b"\n") {
        line.raw.push(b'\n');
    }
}

fn comment_line(raw: &[u8]) -> Line {
    Line {
        raw: raw.to_vec(),
        commands: Vec::new(),
        plain_end: true,
    }
}

fn new_line(indent: &[u8], says: &Says) -> Line {
    let (start, text) = (indent.len(), text(says));
    let end = start + text.len();
    let command = Command {
        says: says.clone(),
        start,
        end,
        line: 0,
        column: 0,
    };
    Line {
        raw: [indent, &text, b"\n"].concat(),
        commands: vec![command],
        plain_end: true,
    }
}

/// Another command in the place of a line's only one.
fn rewrite(line: &mut Line, says: &Says) {
    let command = &line.commands[0];
    line.raw = [&line.raw[..command.start], &text(says), &line.raw[command.end..]].concat();
}

/// A command as `uci export` writes it.
fn text(says: &Says) -> Vec<u8> {
    match says {
        Says::Package { name } => [b"package ", &quoted(name.as_bytes())[..]].concat(),
        Says::Config { kind, name } => {
            let plain = kind.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
            let kind = if plain {
                kind.clone().into_bytes()
            } else {
                quoted(kind.as_bytes())
            };
            let name = name.as_ref().map(|n| [b" ", &quoted(n.as_bytes())[..]].concat());
            [b"config ", &kind[..], &name.unwrap_or_default()].concat()
        }
        Says::Option { name, value } => [b"option ", name.as_bytes(), b" ", &quoted(value)].concat(),
        Says::Item { name, value } => [b"list ", name.as_bytes(), b" ", &quoted(value)].concat(),
    }
}

/// In single quotes; one of them in the value leaves them for `\'`.
fn quoted(value: &[u8]) -> Vec<u8> {
    let mut out = vec![b'\''];
    for byte in value {
        match byte {
            b'\'' => out.extend(b"'\\''"),
            other => out.push(*other),
        }
    }
    out.push(b'\'');
    out
}
