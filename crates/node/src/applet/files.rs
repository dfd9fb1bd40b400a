//! Tools for files: `cat`, `ls`, `mkdir`, `rm`, `touch`.

use super::options::Options;
use super::os;
use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// Copies files, or standard input, to standard output.
pub(super) fn cat(arguments: &[String]) -> u8 {
    let options = match Options::parse(arguments, &[], &["u"]) {
        Ok(options) => options,
        Err(why) => return os::fail(&format!("cat: {why}")),
    };
    let mut files = options.operands;
    if files.is_empty() {
        files.push("-".into());
    }
    let mut code = 0;
    for file in files {
        let result = if file == "-" {
            copy_out(&mut io::stdin().lock())
        } else {
            fs::File::open(&file).and_then(|mut opened| copy_out(&mut opened))
        };
        match result {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return 1,
            Err(error) => code = os::fail(&format!("cat: {file}: {}", os::reason(&error))),
            Ok(()) => {}
        }
    }
    code
}

fn copy_out(from: &mut impl Read) -> io::Result<()> {
    let mut chunk = vec![0; 64 * 1024];
    loop {
        match from.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(length) => {
                if !os::print(chunk.get(..length).unwrap_or_default()) {
                    return Err(io::ErrorKind::BrokenPipe.into());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Lists directories, one name a line.
pub(super) fn ls(arguments: &[String]) -> u8 {
    let options = match Options::parse(arguments, &[], &["l", "a", "A", "1", "h", "d"]) {
        Ok(options) => options,
        Err(why) => return os::fail(&format!("ls: {why}")),
    };
    let mut places = options.operands.clone();
    if places.is_empty() {
        places.push(".".into());
    }
    let mut code = 0;
    let several = places.len() > 1;
    for place in &places {
        match list(place, &options) {
            Ok(lines) => {
                if several {
                    os::line(&format!("{place}:"));
                }
                for line in lines {
                    if !os::line(&line) {
                        return code;
                    }
                }
            }
            Err(error) => code = os::fail(&format!("ls: {place}: {}", os::reason(&error))),
        }
    }
    code
}

fn list(place: &str, options: &Options) -> io::Result<Vec<String>> {
    let path = Path::new(place);
    let about = fs::symlink_metadata(path)?;
    let long = options.has(&["l"]);
    if !path.is_dir() || options.has(&["d"]) {
        return Ok(vec![entry_line(place, path, &about, long)]);
    }
    let mut names: Vec<String> = Vec::new();
    if options.has(&["a"]) {
        names.extend([".".into(), "..".into()]);
    }
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') || options.has(&["a", "A"]) {
            names.push(name);
        }
    }
    names.sort();
    names
        .iter()
        .map(|name| {
            let path = path.join(name);
            Ok(entry_line(name, &path, &fs::symlink_metadata(&path)?, long))
        })
        .collect()
}

fn entry_line(name: &str, path: &Path, about: &Metadata, long: bool) -> String {
    if !long {
        return name.to_owned();
    }
    let modified = jiff::Timestamp::from_second(about.mtime()).unwrap_or_default();
    let modified = modified.strftime("%b %e %H:%M");
    let link = fs::read_link(path)
        .map(|to| format!(" -> {}", to.display()))
        .unwrap_or_default();
    format!(
        "{} {:>4} {:<8} {:<8} {:>9} {modified} {name}{link}",
        mode_text(about),
        about.nlink(),
        owner(about.uid()),
        owner(about.gid()),
        about.len(),
    )
}

fn owner(id: u32) -> String {
    if id == 0 {
        "root".into()
    } else {
        id.to_string()
    }
}

fn mode_text(about: &Metadata) -> String {
    let kind = about.file_type();
    let mut text = String::from(if kind.is_dir() {
        "d"
    } else if kind.is_symlink() {
        "l"
    } else {
        "-"
    });
    let mode = about.permissions().mode();
    for shift in [6, 3, 0] {
        for (bit, letter) in [(4, 'r'), (2, 'w'), (1, 'x')] {
            text.push(if mode >> shift & bit == 0 {
                '-'
            } else {
                letter
            });
        }
    }
    text
}

/// Makes directories.
pub(super) fn mkdir(arguments: &[String]) -> u8 {
    each(arguments, "mkdir", &["p"], |options, path| {
        if options.has(&["p"]) {
            fs::create_dir_all(path)
        } else {
            fs::create_dir(path)
        }
    })
}

/// Removes files, and directories with `-r`.
pub(super) fn rm(arguments: &[String]) -> u8 {
    each(arguments, "rm", &["r", "R", "f"], |options, path| {
        let removed = match fs::symlink_metadata(path) {
            Ok(about) if about.is_dir() && options.has(&["r", "R"]) => fs::remove_dir_all(path),
            Ok(_) => fs::remove_file(path),
            Err(error) => Err(error),
        };
        match removed {
            Err(error) if error.kind() == io::ErrorKind::NotFound && options.has(&["f"]) => Ok(()),
            other => other,
        }
    })
}

/// Makes empty files, or renews their time.
pub(super) fn touch(arguments: &[String]) -> u8 {
    each(arguments, "touch", &["c", "a", "m"], |_, path| {
        let file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)?;
        file.set_modified(os::time_of_day().into())
    })
}

fn each(
    arguments: &[String],
    name: &str,
    known: &[&str],
    work: impl Fn(&Options, &Path) -> io::Result<()>,
) -> u8 {
    let options = match Options::parse(arguments, &[], known) {
        Ok(options) => options,
        Err(why) => return os::fail(&format!("{name}: {why}")),
    };
    if options.operands.is_empty() && !options.has(&["f"]) {
        return os::fail(&format!("{name}: missing operand"));
    }
    let mut code = 0;
    for operand in &options.operands {
        if let Err(error) = work(&options, Path::new(operand)) {
            code = os::fail(&format!("{name}: '{operand}': {}", os::reason(&error)));
        }
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn directories_and_files_are_made_and_removed() {
        let home = tempfile::tempdir().unwrap();
        let base = home.path().display();
        assert_eq!(mkdir(&words(&format!("-p {base}/a/b"))), 0);
        assert_eq!(touch(&words(&format!("{base}/a/b/c"))), 0);
        assert_eq!(rm(&words(&format!("{base}/a"))), 1);
        assert_eq!(rm(&words(&format!("-rf {base}/a {base}/none"))), 0);
        assert!(!home.path().join("a").exists());
    }

    #[test]
    fn hidden_files_are_listed_on_demand() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join(".x"), "").unwrap();
        fs::write(home.path().join("y"), "").unwrap();
        let place = home.path().display().to_string();
        let options = |text: &str| Options::parse(&words(text), &[], &["l", "a"]).unwrap();
        assert_eq!(list(&place, &options("")).unwrap(), ["y"]);
        assert_eq!(
            list(&place, &options("-a")).unwrap(),
            [".", "..", ".x", "y"]
        );
        assert!(list(&place, &options("-l")).unwrap()[0].starts_with("-rw"));
    }
}
