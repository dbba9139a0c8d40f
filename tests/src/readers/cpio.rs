//! The portable ("odc") cpio archive of POSIX.1-1988: a header of octal texts, the name with its NUL, the bytes; no padding.

/// One member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// As written, with its leading `./`.
    pub path: String,
    /// Type and permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Seconds since 1970.
    pub mtime: u32,
    /// Content of a file, target of a link.
    pub bytes: Vec<u8>,
}

/// All members, in order.
///
/// # Panics
/// If it is no such archive, or is not whole.
pub fn read(archive: &[u8]) -> Vec<Member> {
    let mut members = Vec::new();
    let mut inodes = Vec::new();
    let mut at = 0;
    loop {
        let field = |from: usize, size: usize| {
            let text = std::str::from_utf8(&archive[at + from..at + from + size]).expect("octal digits");
            u32::from_str_radix(text, 8).unwrap_or_else(|error| panic!("{text:?} at {}: {error}", at + from))
        };
        assert_eq!(&archive[at..at + 6], b"070707", "a member begins at {at}");
        let (name_size, size) = (field(59, 6) as usize, field(65, 11) as usize);
        let name = &archive[at + 76..at + 76 + name_size];
        let (nul, name) = name.split_last().expect("a name");
        assert_eq!(*nul, 0, "a name ends with NUL");
        let path = String::from_utf8(name.to_vec()).expect("text");
        let begin = at + 76 + name_size;
        let bytes = archive[begin..begin + size].to_vec();
        if path == "TRAILER!!!" {
            assert!(
                archive[begin + size..].iter().all(|byte| *byte == 0),
                "nothing follows the trailer"
            );
            return members;
        }
        let inode = field(12, 6);
        assert!(
            !inodes.contains(&inode),
            "{path}: inode {inode} again would be a hard link"
        );
        inodes.push(inode);
        members.push(Member {
            path,
            mode: field(18, 6),
            uid: field(24, 6),
            gid: field(30, 6),
            mtime: field(48, 11),
            bytes,
        });
        at = begin + size;
    }
}
