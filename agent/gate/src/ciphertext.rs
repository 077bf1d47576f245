//! Whether bytes look like ciphertext, told from one pass over them.
//!
//! Good ciphertext is evenly distributed and knows nothing of its plaintext, so each test here has a chance to be wrong
//! about it that can be stated for any length, without approximation: [`FALSE_ALARM_BITS`] for each of the statistical ones.
//! With the beginnings of well-known formats, the least of which has 36 bits, fewer than one in 2^35 true ciphertexts is
//! refused: for a repository of 100,000 objects a chance below one in 300,000.
//!
//! What is caught: text in any encoding (logs, JSON, XML, base64, hex, PEM) from some 50 bytes on, padding and tables
//! anywhere, what begins like a compressed, executable or image file, and, without its beginning, a log compressed by gzip, zstd or
//! bzip2 from some 64 KB on. What can't be told: what was compressed better than that (xz, most images) and doesn't begin as such, and of
//! course ciphertext made with another key.

use std::f64::consts::LN_2;

use thiserror::Error;

/// A statistical test refuses true ciphertext with a chance of at most 2 to the minus this.
pub const FALSE_ALARM_BITS: f64 = 40.0;

/// How much of the beginning is kept, in bytes: the longest of [`FORMATS`] and a little.
const BEGINNING_BYTES: usize = 24;

const BYTE_VALUES: usize = 256;

/// Several counters for each value: successive bytes don't wait for each other's.
const LANES: usize = 4;

/// What gave it away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Tell {
    /// The beginning of a well-known format.
    #[error("it begins like {0}")]
    Format(&'static str),
    /// As in padding, rules and tables.
    #[error("the same eight bytes come twice in a row")]
    Repetition,
    /// As in text, whose bytes have no highest bit.
    #[error("one bit is nearly always the same")]
    Bits,
    /// As the spaces of a text.
    #[error("one byte is far too frequent")]
    Frequent,
    /// Whatever has a pattern.
    #[error("its bytes are not evenly distributed")]
    Uneven,
}

/// Bytes on their way, as far as the judgement needs them: some 4 KiB, whatever their number.
#[derive(Debug)]
pub struct Sample {
    counters: Box<[[u32; BYTE_VALUES]; LANES]>,
    beginning: Vec<u8>,
    repeats: bool,
}

impl Default for Sample {
    fn default() -> Self {
        let beginning = Vec::with_capacity(BEGINNING_BYTES);
        Self { counters: Box::new([[0; BYTE_VALUES]; LANES]), beginning, repeats: false }
    }
}

impl Sample {
    /// The next bytes. All together they are fewer than 4 GiB; see [`drawbridge_wire::MAX_PACK_BYTES`].
    pub fn take_in(&mut self, bytes: &[u8]) {
        let missing = BEGINNING_BYTES.saturating_sub(self.beginning.len());
        self.beginning.extend(bytes.iter().take(missing));
        let [a, b, c, d] = &mut *self.counters;
        let (quads, rest) = bytes.as_chunks::<LANES>();
        for [first, second, third, fourth] in quads {
            count(a, *first);
            count(b, *second);
            count(c, *third);
            count(d, *fourth);
        }
        rest.iter().for_each(|byte| count(a, *byte));
        // 2^-64 for each pair, and fewer than 2^24.2 of them in the largest object.
        let (words, _) = bytes.as_chunks::<8>();
        self.repeats |= words.iter().zip(words.iter().skip(1)).any(|(word, next)| word == next);
    }

    /// What tells that it is no ciphertext.
    ///
    /// # Errors
    /// The first [`Tell`] that was found.
    pub fn judge(&self) -> Result<(), Tell> {
        if let Some(format) = FORMATS.iter().find(|format| (format.begins)(&self.beginning)) {
            return Err(Tell::Format(format.what));
        }
        let histogram = self.histogram();
        let tells = [
            (Tell::Repetition, self.repeats),
            (Tell::Bits, is_impossible(bits(&histogram))),
            (Tell::Frequent, is_impossible(frequent(&histogram))),
            (Tell::Uneven, is_impossible(uneven(&histogram))),
        ];
        tells.iter().find(|(_, found)| *found).map_or(Ok(()), |(tell, _)| Err(*tell))
    }

    fn histogram(&self) -> Vec<f64> {
        let [a, b, c, d] = &*self.counters;
        let sums = a.iter().zip(b).zip(c.iter().zip(d));
        sums.map(|((a, b), (c, d))| f64::from(*a) + f64::from(*b) + f64::from(*c) + f64::from(*d)).collect()
    }
}

fn count(counters: &mut [u32; BYTE_VALUES], byte: u8) {
    if let Some(counter) = counters.get_mut(usize::from(byte)) {
        *counter += 1;
    }
}

/// Whether something of at most this probability, as a natural logarithm, doesn't happen to ciphertext.
fn is_impossible(log_probability: f64) -> bool {
    log_probability <= -FALSE_ALARM_BITS * LN_2
}

/// At most this probable is it that of `n` bytes so many, or as unlikely a number, have what a share of `expected` has.
/// Source: Chernoff's bound in its relative-entropy form, which holds for every `n`.
fn chernoff(n: f64, found: f64, expected: f64) -> f64 {
    let share = found / n;
    let term = |share: f64, expected: f64| if share > 0.0 { share * (share / expected).ln() } else { 0.0 };
    -n * (term(share, expected) + term(1.0 - share, 1.0 - expected))
}

/// How probable the least probable of the eight bits' balances is, for all of them together.
fn bits(histogram: &[f64]) -> f64 {
    let n: f64 = histogram.iter().sum();
    let ones = |bit: u32| -> f64 {
        histogram.iter().zip(0_u32..).filter(|(_, value)| value >> bit & 1 == 1).map(|(count, _)| count).sum()
    };
    // Eight bits, each with two ways to fail.
    let least = (0..8).map(|bit| chernoff(n, ones(bit), 0.5)).fold(0.0, f64::min);
    if n > 0.0 { least + 16_f64.ln() } else { 0.0 }
}

/// How probable it is that any byte is as frequent as the most frequent one.
fn frequent(histogram: &[f64]) -> f64 {
    let n: f64 = histogram.iter().sum();
    let most = histogram.iter().copied().fold(0.0, f64::max);
    let values = BYTE_VALUES as f64;
    if most * values > n { chernoff(n, most, values.recip()) + values.ln() } else { 0.0 }
}

/// How probable so uneven a distribution is. Source: R. Agrawal, "Finite-sample concentration of the multinomial in relative
/// entropy", IEEE Transactions on Information Theory 66 (2020), theorem I.2: for k values, n draws and any e > (k-1)/n,
/// P(D >= e) <= exp(-ne) (e ne / (k-1))^(k-1).
fn uneven(histogram: &[f64]) -> f64 {
    let n: f64 = histogram.iter().sum();
    let values = BYTE_VALUES as f64;
    let divergence: f64 =
        histogram.iter().filter(|count| **count > 0.0).map(|count| count * (count * values / n).ln()).sum();
    let freedom = values - 1.0;
    if divergence > freedom { freedom * (1.0 + (divergence / freedom).ln()) - divergence } else { 0.0 }
}

/// A format that is known by its beginning.
struct Format {
    what: &'static str,
    begins: fn(&[u8]) -> bool,
}

/// Each by at least 36 bits of its first bytes: a random initialisation vector begins like one of them with a chance below 2^-35.
const FORMATS: [Format; 12] = [
    // RFC 1952, section 2.3: magic, method, no reserved flag, then after the time known extra flags and a known system.
    Format {
        what: "gzip",
        begins: |bytes| matches!(bytes, [0x1f, 0x8b, 8, flags, _, _, _, _, 0 | 2 | 4, 0..=13 | 255, ..] if flags & 0xe0 == 0),
    },
    // RFC 8878, section 3.1.1: magic, then no dictionary, no reserved and no unused bit.
    Format {
        what: "zstd",
        begins: |bytes| matches!(bytes, [0x28, 0xb5, 0x2f, 0xfd, descriptor, ..] if descriptor & 0x1b == 0),
    },
    // What restic encrypts when it compresses an index or a snapshot: a version and zstd.
    Format { what: "restic's compressed JSON", begins: |bytes| matches!(bytes, [2, 0x28, 0xb5, 0x2f, 0xfd, ..]) },
    Format {
        what: "lz4",
        begins: |bytes| matches!(bytes, [4, 0x22, 0x4d, 0x18, flags, block, ..] if flags & 0xc2 == 0x40 && block & 0x8f == 0),
    },
    Format { what: "xz", begins: |bytes| bytes.starts_with(b"\xfd7zXZ\0") },
    Format { what: "bzip2", begins: |bytes| matches!(bytes, [b'B', b'Z', b'h', b'1'..=b'9', b'1', b'A', b'Y', ..]) },
    // APPNOTE.TXT, section 4.3.7: the version that is needed has a small number.
    Format { what: "zip", begins: |bytes| matches!(bytes, [b'P', b'K', 3, 4, 0..=63, 0, ..]) },
    Format { what: "7z", begins: |bytes| bytes.starts_with(b"7z\xbc\xaf\x27\x1c") },
    Format { what: "ELF", begins: |bytes| matches!(bytes, [0x7f, b'E', b'L', b'F', 1 | 2, 1 | 2, 1, ..]) },
    Format { what: "PNG", begins: |bytes| bytes.starts_with(b"\x89PNG\r\n\x1a\n") },
    Format { what: "PDF", begins: |bytes| bytes.starts_with(b"%PDF-1.") },
    Format {
        what: "JPEG",
        begins: |bytes| {
            matches!(
                bytes,
                [0xff, 0xd8, 0xff, 0xe0, _, _, b'J', b'F', b'I', b'F', ..]
                    | [0xff, 0xd8, 0xff, 0xe1, _, _, b'E', b'x', b'i', b'f', ..]
                    | [0xff, 0xd8, 0xff, 0xdb, 0, 0x43, 0, ..]
            )
        },
    },
];

#[cfg(test)]
mod tests;
