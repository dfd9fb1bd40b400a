//! The one directory that all built-in images share: a shell, its libraries, and this program
//! under the names of its applets.

use super::fault::{Doing, Fault};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds it in `root`; `program` is this program's own file.
pub(crate) fn build(root: &Path, program: &Path) -> Result<(), Fault> {
    for directory in [
        "bin",
        "dev",
        "etc",
        "home",
        "lib",
        "proc",
        "root",
        "run",
        "srv",
        "sys",
        "tmp",
        "usr",
        "usr/local",
        "usr/share",
        "var",
        "var/log",
        "var/tmp",
    ] {
        make_directory(&root.join(directory))?;
    }
    for shared in ["tmp", "var/tmp"] {
        fs::set_permissions(root.join(shared), Permissions::from_mode(0o1777))
            .doing(|| format!("open {shared} for all"))?;
    }
    let links = [
        ("sbin", "bin"),
        ("usr/bin", "../bin"),
        ("usr/sbin", "../bin"),
        ("var/run", "/run"),
    ];
    for (name, target) in links {
        symlink(target, root.join(name)).doing(|| format!("link {name}"))?;
    }
    write_settings(root)?;
    let shell = Path::new("/bin/sh");
    copy_file(shell, &root.join("bin/sh"))?;
    fs::write(root.join("bin/plimsoll"), "").doing(|| "make bin/plimsoll".into())?;
    for applet in crate::applet::names() {
        symlink("plimsoll", root.join("bin").join(applet)).doing(|| format!("link {applet}"))?;
    }
    for library in libraries(shell)?.into_iter().chain(libraries(program)?) {
        copy_library(root, &library)?;
    }
    Ok(())
}

/// The few files of `/etc` that programs expect.
fn write_settings(root: &Path) -> Result<(), Fault> {
    for (name, text) in [
        (
            "passwd",
            "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
        ),
        ("group", "root:x:0:\nnogroup:x:65534:\n"),
        (
            "nsswitch.conf",
            "passwd: files\ngroup: files\nhosts: files dns\n",
        ),
        ("hosts", ""),
        ("hostname", ""),
        ("resolv.conf", ""),
    ] {
        let path = root.join("etc").join(name);
        fs::write(&path, text).doing(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

fn copy_library(root: &Path, library: &Path) -> Result<(), Fault> {
    let inside = root.join(library.strip_prefix("/").unwrap_or(library));
    if inside.exists() {
        return Ok(());
    }
    if let Some(parent) = inside.parent() {
        make_directory(parent)?;
    }
    copy_file(library, &inside)
}

fn make_directory(path: &Path) -> Result<(), Fault> {
    fs::create_dir_all(path).doing(|| format!("make {}", path.display()))
}

fn copy_file(from: &Path, to: &Path) -> Result<(), Fault> {
    fs::copy(from, to)
        .map(drop)
        .doing(|| format!("copy {}", from.display()))
}

/// The shared libraries of a program, its loader first; none for a static one.
fn libraries(program: &Path) -> Result<Vec<PathBuf>, Fault> {
    let mut file = fs::File::open(program).doing(|| format!("open {}", program.display()))?;
    let Some(loader) = interpreter(&mut file) else {
        return Ok(Vec::new());
    };
    let listed = Command::new(&loader)
        .arg("--list")
        .arg(program)
        .output()
        .doing(|| format!("list the libraries of {}", program.display()))?;
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    let mut found = vec![loader];
    found.extend(text.lines().filter_map(library_path));
    let resolvers: Vec<_> = found
        .iter()
        .filter(|path| path.file_name().is_some_and(|name| name == "libc.so.6"))
        .filter_map(|libc| libc.parent())
        .flat_map(|home| {
            // What older C libraries load at run time to look names up.
            ["libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2"].map(|name| home.join(name))
        })
        .filter(|path| path.exists())
        .collect();
    found.extend(resolvers);
    Ok(found)
}

/// `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)` names a path; the vdso does not.
fn library_path(line: &str) -> Option<PathBuf> {
    let (_, right) = line.split_once("=> ")?;
    let path = right
        .rsplit_once(" (")
        .map_or(right, |(path, _)| path)
        .trim();
    path.starts_with('/').then(|| PathBuf::from(path))
}

/// The loader named in a 64-bit little-endian ELF file.
fn interpreter(file: &mut fs::File) -> Option<PathBuf> {
    use std::os::unix::fs::FileExt;
    const INTERPRETER: [u8; 4] = [3, 0, 0, 0];
    let mut header = [0_u8; 64];
    file.read_exact_at(&mut header, 0).ok()?;
    if header.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let table = u64::from_le_bytes(header.get(32..40)?.try_into().ok()?);
    let size = u64::from(u16::from_le_bytes(header.get(54..56)?.try_into().ok()?));
    let count = u64::from(u16::from_le_bytes(header.get(56..58)?.try_into().ok()?));
    for index in 0..count {
        let mut entry = [0_u8; 56];
        file.read_exact_at(&mut entry, table.checked_add(index * size)?)
            .ok()?;
        if entry.get(..4)? == INTERPRETER {
            let at = u64::from_le_bytes(entry.get(8..16)?.try_into().ok()?);
            let length = u64::from_le_bytes(entry.get(32..40)?.try_into().ok()?).min(4096);
            let mut name = vec![0; usize::try_from(length).ok()?];
            file.read_exact_at(&mut name, at).ok()?;
            let name = String::from_utf8(name).ok()?;
            return Some(PathBuf::from(name.trim_end_matches('\0')));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_test_program_has_a_loader_and_its_library_list_names_libc() {
        let program = std::env::current_exe().unwrap();
        let found = libraries(&program).unwrap();
        if found.is_empty() {
            println!("skipped: this program is linked statically");
            return;
        }
        assert!(found.iter().all(|path| path.is_absolute()), "{found:?}");
        assert!(
            found
                .iter()
                .any(|path| path.to_string_lossy().contains("libc")),
            "{found:?}"
        );
    }

    #[test]
    fn the_vdso_is_no_library() {
        assert_eq!(library_path("\tlinux-vdso.so.1 (0x00007f4cc2ebd000)"), None);
        let line = "\tlibc.so.6 => /lib/libc.so.6 (0x00007f)";
        assert_eq!(library_path(line), Some(PathBuf::from("/lib/libc.so.6")));
    }
}
