//! Replays recorded decisions of the original controller, where the recordings are at hand.

#[cfg(test)]
mod horizontal_vector;

use horizontal_vector::Vector;
use std::path::Path;

#[test]
fn the_recorded_decisions_of_the_original_are_reproduced() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors/hpa");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        println!("skipped: no recorded decisions in {}", folder.display());
        return;
    };
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let (mut passed, mut skipped, mut wrong) = (0, 0, Vec::new());
    for file in files
        .iter()
        .filter(|file| file.extension().is_some_and(|e| e == "json"))
    {
        let text = std::fs::read_to_string(file).unwrap();
        let content: serde_json::Value = serde_json::from_str(&text).unwrap();
        for raw in content["vectors"].as_array().unwrap() {
            let vector = Vector::new(raw);
            match vector.differences() {
                None => skipped += 1,
                Some(differences) if differences.is_empty() => passed += 1,
                Some(differences) => wrong.push(format!("{}: {differences:#?}", vector.id())),
            }
        }
    }
    println!(
        "{passed} passed, {skipped} skipped (API server behaviour), {} differ",
        wrong.len()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(passed > 0, "no vectors in {}", folder.display());
}
