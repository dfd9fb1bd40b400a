//! The built-in images' programs: this program under other names, ready in a millisecond.

mod curl;
mod files;
pub(crate) mod guard;
mod http_client;
mod lookup;
pub(crate) mod names;
mod options;
mod os;
mod pattern;
mod processes;
mod server;
mod system;
mod tar;
mod terminal;
mod text;
mod waiting;
mod web;
mod wget;

pub(crate) use terminal::SESSION;

use std::process::ExitCode;

/// What an applet gets: its arguments without its own name.
type Applet = fn(&[String]) -> u8;

const APPLETS: &[(&str, Applet)] = &[
    ("burn", waiting::burn),
    ("cat", files::cat),
    ("curl", curl::curl),
    ("date", system::date),
    ("df", system::df),
    ("echo", text::echo),
    ("env", system::env),
    ("false", waiting::no),
    ("free", system::free),
    ("grep", text::grep),
    (guard::NAME, guard::guard),
    ("head", text::head),
    ("hostname", system::hostname),
    ("hpa-example", web::hpa_example),
    ("id", system::id),
    ("kill", system::kill),
    ("kubetm-app", web::app),
    ("ls", files::ls),
    ("mkdir", files::mkdir),
    ("nginx", web::nginx),
    ("nslookup", lookup::nslookup),
    (SESSION, terminal::session),
    ("pause", waiting::pause),
    ("ps", processes::ps),
    ("rm", files::rm),
    ("seq", text::seq),
    ("sleep", waiting::sleep),
    ("stress", waiting::burn),
    ("stty", terminal::stty),
    ("tail", text::tail),
    ("tar", tar::tar),
    ("top", processes::top),
    ("touch", files::touch),
    ("true", waiting::yes),
    ("tty", terminal::tty),
    ("uname", system::uname),
    ("wc", text::wc),
    ("wget", wget::wget),
    ("whoami", system::whoami),
];

/// The names under which the program is an applet.
pub fn names() -> impl Iterator<Item = &'static str> {
    APPLETS.iter().map(|(name, _)| *name)
}

/// Runs an applet if the program was called by an applet's name, or as `… __applet NAME`.
///
/// To be called first thing in `main`; returns the exit code to end with.
pub fn dispatch(argv: impl IntoIterator<Item = std::ffi::OsString>) -> Option<ExitCode> {
    let mut words = argv
        .into_iter()
        .map(|word| word.to_string_lossy().into_owned());
    let program = words.next()?;
    let mut rest: Vec<String> = words.collect();
    let mut name = program.rsplit('/').next().unwrap_or_default().to_owned();
    if rest.first().is_some_and(|word| word == "__applet") && rest.len() > 1 {
        name = rest.drain(..2).next_back()?;
    }
    let (_, applet) = APPLETS.iter().find(|(known, _)| *known == name)?;
    Some(ExitCode::from(applet(&rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(words: &[&str]) -> Option<ExitCode> {
        dispatch(words.iter().map(Into::into))
    }

    #[test]
    fn an_applet_is_known_by_its_own_name_or_by_the_word_before_it() {
        assert_eq!(run(&["/bin/true"]), Some(ExitCode::SUCCESS));
        assert_eq!(
            run(&["plimsoll", "__applet", "false"]),
            Some(ExitCode::from(1))
        );
    }

    #[test]
    fn other_names_are_left_to_the_program() {
        assert_eq!(run(&["plimsoll"]), None);
        assert_eq!(run(&["plimsoll", "up"]), None);
        assert_eq!(run(&["plimsoll", "__applet"]), None);
        assert_eq!(run(&["plimsoll", "__applet", "nope"]), None);
        assert_eq!(run(&[]), None);
    }

    #[test]
    fn names_are_sorted_and_unique() {
        let all: Vec<_> = names().collect();
        assert!(all.is_sorted_by(|one, next| one < next));
    }

    #[test]
    fn every_image_runs_an_applet_or_the_shell() {
        for image in crate::images::all() {
            let argv = image.argv(&[], &[]);
            let program = argv.first().unwrap().as_str();
            assert!(
                program == "sh" || names().any(|name| name == program),
                "{image:?}"
            );
        }
    }
}
