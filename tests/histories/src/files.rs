//! What happens to a site's files in a day.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use drawbridge_tests::Dice;

/// The most changes in a day; there is always one.
const MOST_CHANGES: u64 = 5;

/// The largest file that comes into being, in bytes.
const LARGEST: u64 = 300_000;

/// Changes some files below `folder`.
pub(crate) fn change(folder: &Path, dice: &mut Dice) {
    fs::create_dir_all(folder).unwrap();
    for _ in 0..=dice.throw(MOST_CHANGES) {
        let files = files(folder);
        if files.len() < 3 {
            create(folder, dice);
            continue;
        }
        let file = dice.choose(&files).clone();
        match dice.throw(5) {
            0 => create(folder, dice),
            1 => fs::write(&file, content(dice)).unwrap(),
            2 => OpenOptions::new().append(true).open(&file).unwrap().write_all(&content(dice)).unwrap(),
            3 => fs::remove_file(&file).unwrap(),
            _ => fs::rename(&file, place(folder, dice)).unwrap(),
        }
    }
}

/// Every file, in the order of their names.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = ["etc", "log"]
        .iter()
        .filter_map(|part| fs::read_dir(folder.join(part)).ok())
        .flat_map(|entries| entries.map(|entry| entry.unwrap().path()))
        .collect();
    found.sort();
    found
}

fn create(folder: &Path, dice: &mut Dice) {
    fs::write(place(folder, dice), content(dice)).unwrap();
}

fn place(folder: &Path, dice: &mut Dice) -> PathBuf {
    let part = folder.join(dice.choose(&["etc", "log"]));
    fs::create_dir_all(&part).unwrap();
    part.join(format!("file-{}", dice.throw(40)))
}

/// Text that compresses, or bytes that don't.
fn content(dice: &mut Dice) -> Vec<u8> {
    let length = usize::try_from(dice.throw(LARGEST)).unwrap();
    if dice.throw(2) == 0 {
        return dice.bytes(length);
    }
    let line = format!("{} router dhcpd: lease {} renewed\n", dice.throw(1000), dice.throw(1000));
    line.into_bytes().into_iter().cycle().take(length).collect()
}
