//! A short, repeatable run of the fuzz targets: good inputs, broken at random from a fixed seed.

pub(crate) mod targets;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rstest::rstest;
use targets::{TARGETS, World};

/// Inputs a target gets here; the fuzzer itself runs as long as it is let.
const ROUNDS: usize = 400;
/// Pieces that mean something to one of the parsers.
const PIECES: &[&str] = &[
    "null",
    "{}",
    "[]",
    "\"\"",
    "-1",
    "1e999",
    "9223372036854775808",
    "$patch",
    "\\u0000",
    "\u{fffd}",
    "metadata",
    "managedFields",
    "f:spec",
    "k:{\"name\":\"web\"}",
    "/-1",
    "~0~1",
    "!",
    "((",
    "in (",
    ".map(x, x)",
    "self",
    "'''",
    "&a *a",
    "<<: *a",
    "\x00",
    "\u{ff}",
];

fn broken(random: &mut StdRng, seed: &[u8]) -> Vec<u8> {
    let mut input = seed.to_vec();
    for _ in 0..random.random_range(1..4) {
        let at = random.random_range(0..=input.len());
        match random.random_range(0..5) {
            0 if at < input.len() => input[at] = random.random(),
            1 => input.truncate(at.max(1)),
            2 => {
                let from = random.random_range(0..=at);
                let copy = input[from..at].to_vec();
                input.splice(at..at, copy);
            }
            3 => {
                let until = (at + random.random_range(0..8)).min(input.len());
                input.drain(at..until);
            }
            _ => {
                let piece = PIECES[random.random_range(0..PIECES.len())];
                input.splice(at..at, piece.bytes());
            }
        }
    }
    input
}

#[rstest]
#[case("body")]
#[case("selector")]
#[case("patch")]
#[case("apply")]
#[case("cel")]
#[case("token")]
fn nothing_thrown_at_the_server_breaks_it(#[case] name: &str) {
    let (_, target, seeds) = TARGETS.iter().find(|(n, ..)| *n == name).unwrap();
    let world = World::new();
    let mut random = StdRng::seed_from_u64(7);
    for seed in *seeds {
        target(&world, seed);
    }
    for round in 0..ROUNDS {
        let seed = seeds[round % seeds.len()];
        target(&world, &broken(&mut random, seed));
    }
}

#[test]
fn every_target_runs_here_and_in_the_fuzzer() {
    let fuzzed = include_str!("../../../../../fuzz/Cargo.toml");
    for (name, ..) in TARGETS {
        assert!(fuzzed.contains(&format!("name = \"{name}\"")), "{name}");
    }
}
