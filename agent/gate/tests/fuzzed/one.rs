//! Requests in HTTP/1.1's form, more or less.

use super::dice::Dice;
use super::plan::Aim;

const METHODS: [&str; 14] = [
    "GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "post", "POST ", "PO\0ST", "PRI", "",
    "BREW",
];

const VERSIONS: [&str; 8] =
    ["HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "HTTP/9.9", "http/1.1", "HTTP/1.1 ", "", "HTTP/1.1\r\nHost: x"];

const HEADERS: [&str; 20] = [
    "Expect: 100-continue",
    "Connection: close",
    "Connection: upgrade, http2-settings",
    "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA",
    "Connection: Content-Length",
    "Content-Length : 5",
    " Content-Length: 5",
    "Content-Length:\r\n 5",
    "X: y\r\n z",
    "X\0: y",
    "X: \0",
    "X",
    ":",
    "Host: a\r\nHost: b",
    "Trailer: Content-Length",
    "TE: trailers",
    "Content-Encoding: gzip",
    "Range: bytes=0-",
    "If-None-Match: *",
    "X-HTTP-Method-Override: DELETE",
];

const ENCODINGS: [&str; 9] = [
    "chunked",
    "chunked, chunked",
    "identity",
    "gzip, chunked",
    "\tchunked",
    "xchunked",
    "Chunked",
    "chunked, identity",
    "",
];

/// One request, with a body or the beginning of one.
pub fn request(dice: &mut Dice, aim: &Aim) -> Vec<u8> {
    let body = body(dice, aim);
    let mut bytes = head(dice, aim, &body);
    let chunked = String::from_utf8_lossy(&bytes).to_lowercase().contains("chunked") && !dice.once_in(4);
    bytes.extend(if chunked { chunks(dice, &body) } else { body });
    if dice.once_in(12) {
        dice.spoil(&mut bytes);
    }
    bytes
}

fn head(dice: &mut Dice, aim: &Aim, body: &[u8]) -> Vec<u8> {
    let method = if dice.once_in(5) { dice.text(&METHODS) } else { "POST".to_owned() };
    let path = if dice.once_in(3) { aim.wrong_path(dice) } else { aim.path.clone() };
    let version = if dice.once_in(12) { dice.text(&VERSIONS) } else { "HTTP/1.1".to_owned() };
    let mut lines = vec![format!("{method} {path} {version}")];
    if !dice.once_in(15) {
        lines.push("Host: vault.drawbridge.internal".to_owned());
    }
    lines.extend(lengths(dice, body.len()));
    if dice.once_in(6) {
        lines.push(format!("Transfer-Encoding: {}", dice.text(&ENCODINGS)));
    }
    while dice.once_in(3) {
        lines.push(dice.text(&HEADERS));
    }
    if dice.once_in(60) {
        lines.push(format!("X: {}", "x".repeat(dice.below(40_000))));
    }
    if dice.once_in(60) {
        lines.extend((0..dice.below(300)).map(|n| format!("X-{n}: {n}")));
    }
    let end = if dice.once_in(25) { dice.text(&["\n", "\r", "\r\r\n", "\n\n"]) } else { "\r\n".to_owned() };
    format!("{}{end}{end}", lines.join(&end)).into_bytes()
}

fn lengths(dice: &mut Dice, right: usize) -> Vec<String> {
    let header = |value: String| format!("Content-Length: {value}");
    if !dice.once_in(4) {
        return vec![header(right.to_string())];
    }
    match dice.below(9) {
        0 => Vec::new(),
        1 => vec![header((right + 1).to_string())],
        2 => vec![header(right.saturating_sub(1).to_string())],
        3 => vec![header(dice.text(&["-1", "+5", "0x10", "5, 5", "5,6", "", " ", "1e3", "18446744073709551616", "0"]))],
        4 => vec![header(right.to_string()), header((right + 1).to_string())],
        5 => vec![header(right.to_string()), header(right.to_string())],
        6 => vec![header("150994944".to_owned())],
        7 => vec![header(u64::MAX.to_string())],
        _ => vec![header(dice.below(1 << 30).to_string())],
    }
}

/// What was declared, or nearly.
fn body(dice: &mut Dice, aim: &Aim) -> Vec<u8> {
    let mut body = aim.content.clone();
    match dice.below(8) {
        0 => dice.spoil(&mut body),
        1 => body.truncate(dice.below(body.len())),
        2 => body.extend(dice.bytes(5000)),
        3 => body = dice.bytes(3000),
        // Another request inside.
        4 => body = [head(dice, aim, &[]), aim.content.clone()].concat(),
        _ => {}
    }
    body
}

fn chunks(dice: &mut Dice, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for chunk in body.chunks(1 + dice.below(70_000)) {
        let size = match dice.below(20) {
            0 => format!("{:x}", chunk.len() + 1),
            1 => format!("{:x};extension=\"\r\n\"", chunk.len()),
            2 => "ffffffffffffffff1".to_owned(),
            3 => format!("-{:x}", chunk.len()),
            _ => format!("{:x}", chunk.len()),
        };
        bytes.extend_from_slice(size.as_bytes());
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    if !dice.once_in(5) {
        bytes.extend_from_slice(dice.text(&["0\r\n\r\n", "0\r\nContent-Length: 5\r\n\r\n", "0\n\n"]).as_bytes());
    }
    bytes
}
