//! Headers of entries: blocks of 512 bytes, as POSIX describes them.

use std::io::{self, Read, Write};

/// Length of a block.
pub(super) const BLOCK: usize = 512;
/// Longest name or target that is read, in bytes.
const LONGEST: u64 = 64 * 1024;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A file; its bytes follow.
    File,
    /// Another name of an earlier file.
    Link,
    /// A symbolic link.
    Symlink,
    /// A directory.
    Directory,
    /// Something that is passed over.
    Other,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) mode: u32,
    pub(super) owner: (u32, u32),
    /// Bytes that follow.
    pub(super) size: u64,
    /// Seconds since 1970.
    pub(super) modified: u64,
    /// Where a link leads.
    pub(super) target: String,
}

impl Header {
    /// A file with usual permissions.
    #[cfg(test)]
    pub(super) fn file(name: &str, size: u64) -> Self {
        Self {
            name: name.to_owned(),
            kind: Kind::File,
            mode: 0o644,
            owner: (0, 0),
            size,
            modified: 0,
            target: String::new(),
        }
    }

    /// Writes the header; names that are too long for it come before it.
    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        for (kind, text) in [(b'K', &self.target), (b'L', &self.name)] {
            if text.len() >= 100 {
                let size = u64::try_from(text.len() + 1).unwrap_or_default();
                let long = Self {
                    name: "././@LongLink".to_owned(),
                    size,
                    target: String::new(),
                    ..self.clone()
                };
                out.write_all(&long.block(kind))?;
                out.write_all(text.as_bytes())?;
                out.write_all(&vec![0; 1 + padding(size)])?;
            }
        }
        let kind = match self.kind {
            Kind::File | Kind::Other => b'0',
            Kind::Link => b'1',
            Kind::Symlink => b'2',
            Kind::Directory => b'5',
        };
        out.write_all(&self.block(kind))
    }

    fn block(&self, kind: u8) -> Vec<u8> {
        let mut block = Vec::with_capacity(BLOCK);
        let mut text = |text: &str, length: usize| {
            let bytes = text.as_bytes();
            let kept = bytes.get(..bytes.len().min(length)).unwrap_or_default();
            block.extend_from_slice(kept);
            block.resize(block.len() + length - kept.len(), 0);
        };
        text(&self.name, 100);
        text(&format!("{:07o}", self.mode & 0o7777), 8);
        text(&format!("{:07o}", self.owner.0), 8);
        text(&format!("{:07o}", self.owner.1), 8);
        text(&format!("{:011o}", self.size), 12);
        text(&format!("{:011o}", self.modified), 12);
        text("        ", 8);
        text(&char::from(kind).to_string(), 1);
        text(&self.target, 100);
        text("ustar  ", 8);
        block.resize(BLOCK, 0);
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        let sum = format!("{sum:06o}\0 ");
        for (place, byte) in block.iter_mut().skip(148).zip(sum.bytes()) {
            *place = byte;
        }
        block
    }

    /// The next header, with the long names before it; `None` at the end of the archive.
    pub(super) fn read(input: &mut impl Read) -> io::Result<Option<Self>> {
        let (mut name, mut target, mut length) = (None, None, None);
        loop {
            let mut block = [0; BLOCK];
            match input.read_exact(&mut block) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                other => other?,
            }
            if block.iter().all(|byte| *byte == 0) {
                return Ok(None);
            }
            let (kind, mut header) = Self::parse(&block)?;
            match kind {
                b'L' => name = Some(long(input, header.size)?),
                b'K' => target = Some(long(input, header.size)?),
                b'x' => {
                    let records = records(&long_bytes(input, header.size)?);
                    let value = |key: &str| {
                        let found = records.iter().rev().find(|(known, _)| known == key);
                        found.map(|(_, value)| value.clone())
                    };
                    name = value("path").or(name);
                    target = value("linkpath").or(target);
                    length = value("size").and_then(|size| size.parse().ok()).or(length);
                }
                b'g' => drop(long_bytes(input, header.size)?),
                _ => {
                    header.name = name.unwrap_or(header.name);
                    header.target = target.unwrap_or(header.target);
                    header.size = length.unwrap_or(header.size);
                    return Ok(Some(header));
                }
            }
        }
    }

    fn parse(block: &[u8; BLOCK]) -> io::Result<(u8, Self)> {
        let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let field = |at: usize, length: usize| block.get(at..at + length).unwrap_or_default();
        let number = |at: usize, length: usize| octal(field(at, length));
        let sum: u64 = block
            .iter()
            .enumerate()
            .map(|(at, byte)| {
                u64::from(if (148..156).contains(&at) {
                    b' '
                } else {
                    *byte
                })
            })
            .sum();
        if number(148, 8) != Some(sum) {
            return Err(invalid("invalid tar header checksum"));
        }
        let narrow = |value: Option<u64>| value.and_then(|v| u32::try_from(v).ok()).unwrap_or(0);
        let mut name = string(field(0, 100));
        let prefix = string(field(345, 155));
        if field(257, 6) == b"ustar\0" && !prefix.is_empty() {
            name = format!("{prefix}/{name}");
        }
        let kind = *field(156, 1).first().unwrap_or(&0);
        let header = Self {
            kind: match kind {
                b'5' => Kind::Directory,
                0 | b'0' | b'7' if name.ends_with('/') => Kind::Directory,
                0 | b'0' | b'7' => Kind::File,
                b'1' => Kind::Link,
                b'2' => Kind::Symlink,
                _ => Kind::Other,
            },
            name,
            mode: narrow(number(100, 8)),
            owner: (narrow(number(108, 8)), narrow(number(116, 8))),
            size: number(124, 12).ok_or_else(|| invalid("invalid size in a tar header"))?,
            modified: number(136, 12).unwrap_or(0),
            target: string(field(157, 100)),
        };
        Ok((kind, header))
    }
}

/// Zeros between an entry's bytes and the next block.
pub(super) fn padding(size: u64) -> usize {
    let over = usize::try_from(size % 512).unwrap_or_default();
    (BLOCK - over) % BLOCK
}

fn string(field: &[u8]) -> String {
    let end = field
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(field.len());
    String::from_utf8_lossy(field.get(..end).unwrap_or_default()).into_owned()
}

/// A number in octal digits, or a large one in binary.
fn octal(field: &[u8]) -> Option<u64> {
    if field.first().is_some_and(|first| first & 0x80 != 0) {
        let last = field.get(field.len().checked_sub(8)?..)?;
        return Some(u64::from_be_bytes(last.try_into().ok()?));
    }
    let text = string(field);
    let digits = text.trim();
    if digits.is_empty() {
        return Some(0);
    }
    u64::from_str_radix(digits, 8).ok()
}

fn long(input: &mut impl Read, size: u64) -> io::Result<String> {
    long_bytes(input, size).map(|bytes| string(&bytes))
}

fn long_bytes(input: &mut impl Read, size: u64) -> io::Result<Vec<u8>> {
    if size > LONGEST {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a name is too long",
        ));
    }
    let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
    input.read_exact(&mut bytes)?;
    let mut rest = vec![0; padding(size)];
    input.read_exact(&mut rest)?;
    Ok(bytes)
}

/// Records of an extended header: `LENGTH KEY=VALUE\n`.
fn records(mut bytes: &[u8]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    while let Some(space) = bytes.iter().position(|byte| *byte == b' ') {
        let length = string(bytes.get(..space).unwrap_or_default()).parse::<usize>();
        let Some((record, rest)) = length
            .ok()
            .and_then(|length| bytes.split_at_checked(length))
        else {
            break;
        };
        let record = record.get(space + 1..).unwrap_or_default();
        let record = record.strip_suffix(b"\n").unwrap_or(record);
        let text = String::from_utf8_lossy(record);
        if let Some((key, value)) = text.split_once('=') {
            found.push((key.to_owned(), value.to_owned()));
        }
        bytes = rest;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extended_header_names_what_follows() {
        let record = |key: &str, value: &str| {
            let body = format!(" {key}={value}\n");
            let length = body.len() + 2;
            format!("{length}{body}")
        };
        let text = [record("path", "long/name"), record("size", "7")].concat();
        let mut archive = Header::file("x", text.len() as u64).block(b'x');
        archive.extend(text.bytes());
        archive.resize(2 * BLOCK, 0);
        Header::file("short", 3).write(&mut archive).unwrap();
        let got = Header::read(&mut &archive[..]).unwrap().unwrap();
        assert_eq!((got.name.as_str(), got.size), ("long/name", 7));
    }

    #[test]
    fn headers_are_read_as_they_were_written() {
        let mut header = Header::file(&"d/".repeat(80), 0);
        header.kind = Kind::Symlink;
        header.target = "t".repeat(120);
        let mut archive = Vec::new();
        header.write(&mut archive).unwrap();
        assert_eq!(Header::read(&mut &archive[..]).unwrap(), Some(header));
    }
}
