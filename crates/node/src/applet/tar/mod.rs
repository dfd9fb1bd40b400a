//! `tar`, as far as copying files needs it: create, list and extract archives without compression.
//! `kubectl cp` runs it on the container's side.

mod create;
mod extract;
mod header;

use super::options::Options;
use super::os;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};

/// Options that ask for nothing that is not done anyway.
const IGNORED: [&str; 10] = [
    "v",
    "m",
    "o",
    "p",
    "k",
    "--no-same-permissions",
    "--no-same-owner",
    "--warning",
    "--numeric-owner",
    "--overwrite",
];

/// Creates, lists or extracts an archive.
pub(super) fn tar(arguments: &[String]) -> u8 {
    match run(arguments) {
        Ok(code) => code,
        Err(why) => os::fail(&format!("tar: {why}")),
    }
}

fn run(arguments: &[String]) -> Result<u8, String> {
    let mut arguments = arguments.to_vec();
    // The first word needs no dash: `tar cf - x`.
    if let Some(first) = arguments.first_mut()
        && !first.starts_with('-')
    {
        first.insert(0, '-');
    }
    let mut plain = vec!["c", "x", "t", "h"];
    plain.extend(IGNORED);
    let options = Options::parse(&arguments, &["f", "C", "T", "--exclude"], &plain)?;
    if let Some(directory) = options.value(&["C"]) {
        std::env::set_current_dir(directory).map_err(|error| {
            format!(
                "can't change directory to '{directory}': {}",
                os::reason(&error)
            )
        })?;
    }
    let file = options.value(&["f"]).unwrap_or("-");
    let opened = |error: io::Error| format!("can't open '{file}': {}", os::reason(&error));
    match (
        options.has(&["c"]),
        options.has(&["x"]),
        options.has(&["t"]),
    ) {
        (true, false, false) => {
            let out: Box<dyn Write> = if file == "-" {
                Box::new(io::stdout().lock())
            } else {
                Box::new(File::create(file).map_err(opened)?)
            };
            if options.operands.is_empty() {
                return Err("empty archive".to_owned());
            }
            create::create(BufWriter::new(out), &options.operands)
        }
        (false, is_extraction, is_list) if is_extraction != is_list => {
            let input: Box<dyn Read> = if file == "-" {
                Box::new(io::stdin().lock())
            } else {
                Box::new(File::open(file).map_err(opened)?)
            };
            let mode = if is_list {
                extract::Mode::List
            } else {
                extract::Mode::Extract
            };
            extract::read(input, mode, &options.operands)
        }
        _ => Err("must specify one of -c, -x, -t".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::extract::Mode;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    fn packed(names: &[&str]) -> Vec<u8> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut out = Vec::new();
        assert_eq!(super::create::create(&mut out, &names), Ok(0));
        out
    }

    fn text(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn what_was_packed_comes_out_the_same() {
        let from = tempfile::tempdir().unwrap();
        let long = "n".repeat(180);
        let directory = from.path().join("d");
        fs::create_dir_all(directory.join("empty")).unwrap();
        fs::write(directory.join("a"), "hello").unwrap();
        fs::write(directory.join(&long), vec![b'x'; 1500]).unwrap();
        fs::set_permissions(directory.join("a"), PermissionsExt::from_mode(0o750)).unwrap();
        symlink("a", directory.join("link")).unwrap();
        let archive = packed(&[directory.to_str().unwrap()]);
        assert_eq!(archive.len() % 512, 0);
        let to = tempfile::tempdir().unwrap();
        let code = super::extract::read_into(&archive[..], Mode::Extract, &[], to.path());
        assert_eq!(code, Ok(0));
        let there = to.path().join(directory.strip_prefix("/").unwrap());
        assert_eq!(text(&there.join("a")), "hello");
        assert_eq!(text(&there.join(&long)).len(), 1500);
        assert!(there.join("empty").is_dir());
        assert_eq!(fs::read_link(there.join("link")).unwrap(), Path::new("a"));
        let mode = fs::metadata(there.join("a")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o750);
    }

    #[test]
    fn archives_do_not_reach_outside_their_directory() {
        let to = tempfile::tempdir().unwrap();
        let mut header = super::header::Header::file("../../escape", 4);
        header.size = 4;
        let mut archive = Vec::new();
        header.write(&mut archive).unwrap();
        archive.extend(b"evil");
        archive.resize(archive.len() + 508 + 1024, 0);
        let code = super::extract::read_into(&archive[..], Mode::Extract, &[], to.path());
        assert_eq!(code, Ok(1));
        assert_eq!(fs::read_dir(to.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_broken_archive_is_an_error() {
        let to = tempfile::tempdir().unwrap();
        let archive = [b'x'; 700];
        super::extract::read_into(&archive[..], Mode::Extract, &[], to.path()).unwrap_err();
    }
}
