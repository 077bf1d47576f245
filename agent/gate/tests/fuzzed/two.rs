//! Frames in HTTP/2's form, more or less. Source: RFC 9113, sections 4 and 6; RFC 7541, section 6.2.2.

use super::dice::Dice;
use super::plan::Aim;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// The largest payload that needs no agreement, in bytes.
const FRAME_BYTES: usize = 16_384;

/// A connection's bytes with so many requests.
pub fn connection(dice: &mut Dice, requests: usize, mut aim: impl FnMut(&mut Dice) -> Aim) -> Vec<u8> {
    let mut bytes = PREFACE.to_vec();
    frame(&mut bytes, SETTINGS, 0, 0, &[]);
    for number in 0..requests {
        let stream = if dice.once_in(15) { dice.below(1 << 31) as u32 } else { 2 * number as u32 + 1 };
        let aim = aim(dice);
        request(dice, &aim, stream, &mut bytes);
        while dice.once_in(4) {
            let (kind, flags) = (dice.below(12) as u8, dice.below(256) as u8);
            let payload = dice.bytes(40);
            frame(&mut bytes, kind, flags, stream, &payload);
        }
    }
    if dice.once_in(6) {
        let mut rest = bytes.split_off(PREFACE.len());
        dice.spoil(&mut rest);
        bytes.extend(rest);
    }
    bytes
}

fn request(dice: &mut Dice, aim: &Aim, stream: u32, bytes: &mut Vec<u8>) {
    let path = if dice.once_in(3) { aim.wrong_path(dice) } else { aim.path.clone() };
    let mut body = aim.content.clone();
    if dice.once_in(3) {
        body.push(0);
        dice.spoil(&mut body);
    }
    let method =
        if dice.once_in(5) { dice.text(&["GET", "HEAD", "CONNECT", "PUT", "", "\0"]) } else { "POST".to_owned() };
    let length = if dice.once_in(6) { dice.below(1 << 20) } else { body.len() };
    let mut fields = vec![
        (":method".to_owned(), method),
        (":path".to_owned(), path),
        (":scheme".to_owned(), "http".to_owned()),
        (":authority".to_owned(), dice.text(&["vault.drawbridge.internal", "169.254.169.254", ""])),
        ("content-length".to_owned(), length.to_string()),
    ];
    if dice.once_in(10) {
        let at = dice.below(fields.len());
        match dice.below(4) {
            0 => drop(fields.remove(at)),
            1 => fields.push(fields[at].clone()),
            2 => fields.push(("transfer-encoding".to_owned(), "chunked".to_owned())),
            _ => fields.push(("x".repeat(dice.below(20_000)), "y".to_owned())),
        }
    }
    let block: Vec<u8> = fields.iter().flat_map(|(name, value)| field(name, value)).collect();
    let flags = if dice.once_in(20) { dice.below(256) as u8 } else { END_HEADERS };
    frame(bytes, HEADERS, flags, stream, &block[..block.len().min(FRAME_BYTES)]);
    if dice.once_in(10) {
        frame(bytes, RST_STREAM, 0, stream, &[0, 0, 0, 8]);
    }
    for chunk in body.chunks(FRAME_BYTES) {
        frame(bytes, DATA, 0, stream, chunk);
    }
    if !dice.once_in(5) {
        frame(bytes, DATA, END_STREAM, stream, &[]);
    }
}

fn frame(bytes: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    bytes.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    bytes.extend([kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
}

/// A literal field without indexing and without Huffman's code.
fn field(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| {
        let mut bytes = vec![text.len().min(127) as u8];
        let mut rest = text.len().checked_sub(127);
        while let Some(left) = rest {
            bytes.push((left % 128) as u8 | if left >= 128 { 128 } else { 0 });
            rest = (left >= 128).then_some(left / 128);
        }
        bytes.extend_from_slice(text.as_bytes());
        bytes
    };
    [vec![0], text(name), text(value)].concat()
}
