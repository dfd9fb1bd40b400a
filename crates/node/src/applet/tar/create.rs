//! Packing files into an archive.

use super::super::os;
use super::header::{BLOCK, Header, Kind, padding};
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Writes an archive of these files and directories; the exit code.
pub(super) fn create(mut out: impl Write, names: &[String]) -> Result<u8, String> {
    let mut code = 0;
    for name in names {
        if let Err(failure) = pack(&mut out, name) {
            code = os::fail(&format!("tar: {}", failure.said()?));
        }
    }
    let end = out.write_all(&[0; 2 * BLOCK]).and_then(|()| out.flush());
    end.map_err(|error| format!("write error: {}", os::reason(&error)))?;
    Ok(code)
}

/// What went wrong.
enum Failure {
    /// With one file; the others may be fine.
    File(String, io::Error),
    /// With the archive.
    Archive(io::Error),
}

impl Failure {
    /// The words for it; an error if it ends everything.
    fn said(self) -> Result<String, String> {
        match self {
            Self::File(name, error) => Ok(format!("{name}: {}", os::reason(&error))),
            Self::Archive(error) => Err(format!("write error: {}", os::reason(&error))),
        }
    }
}

/// Packs a file, or a directory with all that is in it.
fn pack(out: &mut impl Write, name: &str) -> Result<(), Failure> {
    let wrong = |error| Failure::File(name.to_owned(), error);
    let path = Path::new(name);
    let about = fs::symlink_metadata(path).map_err(wrong)?;
    let mut header = header(name, &about);
    if about.is_dir() {
        if !header.name.ends_with('/') {
            header.name.push('/');
        }
        header.write(out).map_err(Failure::Archive)?;
        let mut names = Vec::new();
        for entry in fs::read_dir(path).map_err(wrong)? {
            names.push(entry.map_err(wrong)?.file_name());
        }
        names.sort();
        for inner in names {
            let inner = path.join(inner);
            pack(out, &inner.to_string_lossy())?;
        }
        return Ok(());
    }
    if about.is_symlink() {
        let target = fs::read_link(path).map_err(wrong)?;
        header.target = target.to_string_lossy().into_owned();
        return header.write(out).map_err(Failure::Archive);
    }
    if !about.is_file() {
        // Sockets and devices stay where they are.
        return Ok(());
    }
    let file = File::open(path).map_err(wrong)?;
    header.size = about.len();
    header.write(out).map_err(Failure::Archive)?;
    // A file that grows meanwhile is cut, one that shrinks is filled up with zeros.
    let copied = io::copy(&mut file.take(about.len()), out).map_err(Failure::Archive)?;
    let missing = about.len().saturating_sub(copied);
    let zeros = &mut io::repeat(0).take(missing);
    io::copy(zeros, out).map_err(Failure::Archive)?;
    let rest = vec![0; padding(about.len())];
    out.write_all(&rest).map_err(Failure::Archive)
}

fn header(name: &str, about: &Metadata) -> Header {
    // Archives do not lead back to the root.
    let mut name = name.trim_start_matches('/').to_owned();
    if name.is_empty() {
        name.push_str("./");
    }
    Header {
        name,
        kind: if about.is_dir() {
            Kind::Directory
        } else if about.is_symlink() {
            Kind::Symlink
        } else {
            Kind::File
        },
        mode: about.mode(),
        owner: (about.uid(), about.gid()),
        size: 0,
        modified: u64::try_from(about.mtime()).unwrap_or_default(),
        target: String::new(),
    }
}
