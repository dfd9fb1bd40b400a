//! Reading an archive: listing it, or making its files.

use super::super::os;
use super::header::{Header, Kind, padding};
use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

/// What to do with an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Show its names.
    List,
    /// Make its files here.
    Extract,
}

/// Reads an archive; the exit code. With `names`, only those entries and what is below them.
pub(super) fn read(input: impl Read, mode: Mode, names: &[String]) -> Result<u8, String> {
    read_into(input, mode, names, Path::new("."))
}

/// As [`read`], making files below a directory.
pub(super) fn read_into(
    mut input: impl Read,
    mode: Mode,
    names: &[String],
    place: &Path,
) -> Result<u8, String> {
    let mut code = 0;
    let broken = |error: io::Error| os::reason(&error);
    while let Some(header) = Header::read(&mut input).map_err(broken)? {
        let has_bytes = matches!(header.kind, Kind::File | Kind::Other);
        let size = if has_bytes { header.size } else { 0 };
        let mut bytes = (&mut input).take(size);
        let wanted = names.is_empty() || names.iter().any(|name| is_below(&header.name, name));
        if wanted && mode == Mode::List {
            os::line(&header.name);
        } else if wanted && let Err(error) = extract(&header, &mut bytes, place) {
            code = os::fail(&format!("tar: {}: {}", header.name, os::reason(&error)));
        }
        io::copy(&mut bytes, &mut io::sink()).map_err(broken)?;
        if bytes.limit() > 0 {
            return Err("short read".to_owned());
        }
        let mut rest = vec![0; padding(size)];
        input.read_exact(&mut rest).map_err(broken)?;
    }
    // Whoever writes may have more zeros to say.
    io::copy(&mut input, &mut io::sink()).map_err(broken)?;
    Ok(code)
}

fn is_below(entry: &str, name: &str) -> bool {
    let (entry, name) = (entry.trim_end_matches('/'), name.trim_end_matches('/'));
    entry
        .strip_prefix(name)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn extract(header: &Header, bytes: &mut impl Read, place: &Path) -> io::Result<()> {
    let path = inside(place, &header.name)?;
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let permissions = Permissions::from_mode(header.mode & 0o7777);
    match header.kind {
        Kind::Directory => {
            fs::create_dir_all(&path)?;
            fs::set_permissions(&path, permissions)
        }
        Kind::Symlink => {
            make_room(&path)?;
            symlink(&header.target, &path)
        }
        Kind::Link => {
            make_room(&path)?;
            fs::hard_link(inside(place, &header.target)?, &path)
        }
        Kind::File => {
            make_room(&path)?;
            let mut file = File::create(&path)?;
            io::copy(bytes, &mut file)?;
            file.set_permissions(permissions)
        }
        Kind::Other => Ok(()),
    }
}

/// Removes what is in the way of a new file, so that a link is not followed.
fn make_room(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The place for an entry; entries do not lead out of the directory they are extracted to.
fn inside(place: &Path, name: &str) -> io::Result<PathBuf> {
    let mut path = place.to_owned();
    for part in Path::new(name).components() {
        match part {
            Component::Normal(part) => path.push(part),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            Component::ParentDir => {
                let message = "name contains '..'";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
            }
        }
    }
    Ok(path)
}
