//! What the requests aim at.

use drawbridge_peers::objects::{ciphertext, key, pack};
use drawbridge_wire::ObjectKind;

use super::common::{Cargo, Object};
use super::dice::Dice;

/// One of the things that a gate knows, or would.
#[derive(Clone)]
pub struct Aim {
    pub path: String,
    pub content: Vec<u8>,
}

pub struct Plan {
    pub cargo: Cargo,
    aims: Vec<Aim>,
}

impl Plan {
    pub fn new() -> Self {
        let mut objects =
            vec![Object::new(ObjectKind::Config, ciphertext(1, 155)), Object::new(ObjectKind::Key, key(2))];
        objects.extend(
            [200, 5000, 70_000, 300_000].map(|length| Object::new(ObjectKind::Data, pack(length as u64, length))),
        );
        objects.extend([100, 2000].map(|length| Object::new(ObjectKind::Index, ciphertext(3, length))));
        objects.extend([200, 300].map(|length| Object::new(ObjectKind::Snapshot, ciphertext(4, length))));
        let mut old = Object::new(ObjectKind::Data, pack(9, 400));
        old.crosses = false;
        objects.push(old);
        let cargo = Cargo::of(objects);
        let last = cargo.objects.last().unwrap().name;
        let aim = |object: &Object| {
            let mut content = object.content.to_vec();
            // The last one never comes as it should, so that the crossing isn't complete before the end.
            content[0] ^= u8::from(object.name == last);
            Aim { path: object.path(), content }
        };
        let mut aims: Vec<Aim> = cargo.objects.iter().map(aim).collect();
        aims.push(aim(&Object::new(ObjectKind::Data, pack(10, 500))));
        aims.push(aim(&Object::new(ObjectKind::Key, "a plain text".repeat(20))));
        let other = |path: &str, content: Vec<u8>| Aim { path: path.to_owned(), content };
        aims.push(other("/manifest", cargo.manifest_text()));
        aims.push(other("/receipt", Vec::new()));
        Self { cargo, aims }
    }

    pub fn aim(&self, dice: &mut Dice) -> Aim {
        dice.pick(&self.aims).clone()
    }
}

impl Aim {
    /// Something like its path.
    pub fn wrong_path(&self, dice: &mut Dice) -> String {
        let path = &self.path;
        match dice.below(16) {
            0 => format!("{path}/"),
            1 => format!("{path}?create=true"),
            2 => format!("//{path}"),
            3 => format!("/x/..{path}"),
            4 => path.replacen('/', "/%2e%2e/", 1),
            5 => path.to_uppercase(),
            6 => format!("http://169.254.169.254{path}"),
            7 => format!("{path}#x"),
            8 => format!("{path}%00"),
            9 => "/".repeat(1 + dice.below(3000)),
            10 => dice.text(&[
                "*",
                "",
                "/",
                "/locks/00",
                "/data/..",
                "/../config",
                "/runs/x/verdict.json",
                "169.254.169.254:80",
            ]),
            11 => format!("/repo/2026-11-0123456789abcdef{path}"),
            12 => path.replace("data", "keys"),
            13 => format!("{path}\u{e9}"),
            14 => path.chars().rev().collect(),
            _ => {
                let mut bytes = path.clone().into_bytes();
                dice.spoil(&mut bytes);
                String::from_utf8_lossy(&bytes).into_owned()
            }
        }
    }
}
