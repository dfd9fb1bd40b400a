//! Programs that wait, or work for nothing: `sleep`, `pause`, `burn`, `true`, `false`.

use super::os;
use super::web;
use nix::sys::signal::{SigSet, Signal};
use std::time::Duration;

/// Sleeps for the sum of its arguments: seconds with fractions, `m`, `h`, `d`, or `inf`.
pub(super) fn sleep(arguments: &[String]) -> u8 {
    if arguments.is_empty() {
        return os::fail("sleep: missing operand");
    }
    let mut total = Some(Duration::ZERO);
    for word in arguments {
        match duration(word) {
            Ok(one) => {
                total = total
                    .zip(one)
                    .and_then(|(total, one)| total.checked_add(one));
            }
            Err(()) => return os::fail(&format!("sleep: invalid number '{word}'")),
        }
    }
    match total {
        Some(total) => os::pause_for(total),
        None => loop {
            os::pause_for(Duration::from_secs(3600));
        },
    }
    0
}

/// `None` is for ever.
fn duration(text: &str) -> Result<Option<Duration>, ()> {
    if text == "inf" || text == "infinity" {
        return Ok(None);
    }
    let (number, unit) = match text.strip_suffix(['s', 'm', 'h', 'd']) {
        Some(number) => (number, text.chars().last().unwrap_or('s')),
        None => (text, 's'),
    };
    let unit = match unit {
        'm' => 60.0,
        'h' => 3600.0,
        'd' => 86_400.0,
        _ => 1.0,
    };
    let seconds: f64 = number.parse().map_err(|_| ())?;
    Duration::try_from_secs_f64(seconds * unit)
        .map(Some)
        .map_err(|_| ())
}

/// Does nothing until SIGTERM or SIGINT.
pub(super) fn pause(_: &[String]) -> u8 {
    let mut ends = SigSet::empty();
    ends.add(Signal::SIGTERM);
    ends.add(Signal::SIGINT);
    if ends.thread_block().is_err() {
        return 1;
    }
    u8::from(ends.wait().is_err())
}

/// Burns CPU: `burn [MILLICORES]`, 500 where none are given (as the VPA's hamster tries to), 1000
/// for a whole core; until it is killed.
pub(super) fn burn(arguments: &[String]) -> u8 {
    const WINDOW_MILLIS: u64 = 100;
    let milli = arguments
        .iter()
        .find_map(|word| word.parse().ok())
        .unwrap_or(500_u64)
        .min(1000);
    let share = Duration::from_micros(WINDOW_MILLIS * milli);
    let window = Duration::from_millis(WINDOW_MILLIS);
    loop {
        let started = os::now();
        while started.elapsed() < share {
            web::burn(10_000);
        }
        os::pause_for(window.saturating_sub(started.elapsed()));
    }
}

/// Succeeds.
pub(super) fn yes(_: &[String]) -> u8 {
    0
}

/// Fails.
pub(super) fn no(_: &[String]) -> u8 {
    1
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("0.01", Ok(Some(Duration::from_millis(10))))]
    #[case("2m", Ok(Some(Duration::from_secs(120))))]
    #[case("inf", Ok(None))]
    #[case("soon", Err(()))]
    #[case("-1", Err(()))]
    #[case("", Err(()))]
    fn durations_are_read(#[case] text: &str, #[case] want: Result<Option<Duration>, ()>) {
        assert_eq!(duration(text), want);
    }
}
