//! Tools for text: `echo`, `seq`, `head`, `tail`, `wc`, `grep`.

use super::options::Options;
use super::os;
use super::pattern::Pattern;
use std::fs;
use std::io::{self, BufRead, Read};

/// Prints its arguments.
pub(super) fn echo(arguments: &[String]) -> u8 {
    let (words, end) = match arguments.split_first() {
        Some((first, rest)) if first == "-n" => (rest, ""),
        _ => (arguments, "\n"),
    };
    u8::from(!os::print(format!("{}{end}", words.join(" ")).as_bytes()))
}

/// Prints whole numbers from FIRST (1) in steps (1) to LAST.
pub(super) fn seq(arguments: &[String]) -> u8 {
    let numbers: Option<Vec<i64>> = arguments.iter().map(|word| word.parse().ok()).collect();
    let (first, step, last) = match numbers.as_deref() {
        Some([last]) => (1, 1, *last),
        Some([first, last]) => (*first, 1, *last),
        Some([first, step, last]) if *step != 0 => (*first, *step, *last),
        _ => return os::fail("Usage: seq [FIRST [STEP]] LAST"),
    };
    let mut number = first;
    while (step > 0 && number <= last) || (step < 0 && number >= last) {
        if !os::line(&number.to_string()) {
            return 1;
        }
        let Some(next) = number.checked_add(step) else {
            break;
        };
        number = next;
    }
    0
}

/// Prints the first lines.
pub(super) fn head(arguments: &[String]) -> u8 {
    part(arguments, "head", |lines, count| {
        lines.get(..count.min(lines.len())).unwrap_or_default()
    })
}

/// Prints the last lines.
pub(super) fn tail(arguments: &[String]) -> u8 {
    part(arguments, "tail", |lines, count| {
        lines
            .get(lines.len().saturating_sub(count)..)
            .unwrap_or_default()
    })
}

fn part(arguments: &[String], name: &str, choose: fn(&[String], usize) -> &[String]) -> u8 {
    // `-5` is short for `-n 5`.
    let arguments: Vec<String> = arguments
        .iter()
        .map(|word| match word.strip_prefix('-') {
            Some(count) if count.parse::<usize>().is_ok() => format!("-n{count}"),
            _ => word.clone(),
        })
        .collect();
    let options = match Options::parse(&arguments, &["n"], &["q"]) {
        Ok(options) => options,
        Err(why) => return os::fail(&format!("{name}: {why}")),
    };
    let count = options
        .value(&["n"])
        .map_or(Some(10), |text| text.parse().ok());
    let Some(count) = count else {
        return os::fail(&format!("{name}: invalid number of lines"));
    };
    match read_lines(&options.operands, name) {
        Ok(lines) => u8::from(!choose(&lines, count).iter().all(|line| os::line(line))),
        Err(code) => code,
    }
}

/// Counts lines, words and bytes.
pub(super) fn wc(arguments: &[String]) -> u8 {
    let options = match Options::parse(arguments, &[], &["l", "w", "c"]) {
        Ok(options) => options,
        Err(why) => return os::fail(&format!("wc: {why}")),
    };
    let text = match read_all(&options.operands) {
        Ok(text) => text,
        Err(error) => return os::fail(&format!("wc: {}", os::reason(&error))),
    };
    let counts = [
        ("l", text.split(|byte| *byte == b'\n').count() - 1),
        (
            "w",
            String::from_utf8_lossy(&text).split_whitespace().count(),
        ),
        ("c", text.len()),
    ];
    let all = !options.has(&["l", "w", "c"]);
    let shown: Vec<_> = counts
        .iter()
        .filter(|(letter, _)| all || options.has(&[letter]))
        .map(|(_, count)| count.to_string())
        .collect();
    let name = options
        .operands
        .first()
        .map(|name| format!(" {name}"))
        .unwrap_or_default();
    u8::from(!os::line(&format!("{}{name}", shown.join(" "))))
}

/// Prints lines that match a pattern. Exit code 0 if there was one, 1 if not, 2 on errors.
pub(super) fn grep(arguments: &[String]) -> u8 {
    let known = ["q", "i", "v", "c", "E", "F", "n", "o", "w"];
    let options = match Options::parse(arguments, &["e"], &known) {
        Ok(options) => options,
        Err(why) => {
            os::complain(&format!("grep: {why}"));
            return 2;
        }
    };
    let mut files = options.operands.clone();
    let pattern = match options.value(&["e"]) {
        Some(pattern) => pattern.to_owned(),
        None if files.is_empty() => {
            os::complain("Usage: grep [-qivcF] PATTERN [FILE]...");
            return 2;
        }
        None => files.remove(0),
    };
    let fold = options.has(&["i"]);
    let pattern = if fold {
        pattern.to_lowercase()
    } else {
        pattern
    };
    let pattern = if options.has(&["F"]) {
        Pattern::fixed(&pattern)
    } else {
        Pattern::parse(&pattern)
    };
    let Ok(lines) = read_lines(&files, "grep") else {
        return 2;
    };
    let hits: Vec<_> = lines
        .iter()
        .filter(|line| {
            let found = if fold {
                pattern.finds(&line.to_lowercase())
            } else {
                pattern.finds(line)
            };
            found != options.has(&["v"])
        })
        .collect();
    if options.has(&["c"]) {
        os::line(&hits.len().to_string());
    } else if !options.has(&["q"]) {
        for line in &hits {
            if !os::line(line) {
                break;
            }
        }
    }
    u8::from(hits.is_empty())
}

fn read_all(files: &[String]) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    if files.is_empty() {
        io::stdin().lock().read_to_end(&mut text)?;
    }
    for file in files {
        text.extend(fs::read(file)?);
    }
    Ok(text)
}

fn read_lines(files: &[String], name: &str) -> Result<Vec<String>, u8> {
    let text =
        read_all(files).map_err(|error| os::fail(&format!("{name}: {}", os::reason(&error))))?;
    let lines = text.lines().collect::<io::Result<Vec<_>>>();
    lines.map_err(|_| os::fail(&format!("{name}: the input is no text")))
}
