//! An SSH server by hand, as far as the login, that sends banners without end: sshd and the SSH libraries send one, of one packet.
//!
//! RFC 4253 (transport), RFC 8731 (curve25519-sha256), RFC 5647 (AES-GCM as OpenSSH uses it), RFC 4252 (login and banners).

use std::io::{self, Read, Write};
use std::net::TcpStream;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::{SystemRandom, fill};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

const VERSION: &str = "SSH-2.0-Talks";
const BLOCK: usize = 16;
const TAG: usize = 16;

const SERVICE_ACCEPT: u8 = 6;
const KEXINIT: u8 = 20;
const NEWKEYS: u8 = 21;
const KEX_ECDH_REPLY: u8 = 31;
const USERAUTH_SUCCESS: u8 = 52;
const USERAUTH_BANNER: u8 = 53;

/// The server's host key.
pub(crate) struct HostKey(Ed25519KeyPair);

impl HostKey {
    pub(crate) fn new() -> Self {
        Self(Ed25519KeyPair::generate().unwrap())
    }

    /// As `known_hosts` has it: algorithm and key.
    pub(crate) fn line(&self) -> String {
        format!("ssh-ed25519 {}", STANDARD.encode(self.blob()))
    }

    fn blob(&self) -> Vec<u8> {
        [string(b"ssh-ed25519"), string(self.0.public_key().as_ref())].concat()
    }
}

/// Greets whoever connects with these banners, one packet each, and lets in without a key.
///
/// # Errors
/// When the client goes in the middle.
pub(crate) fn talk(stream: TcpStream, host: &HostKey, banners: &[String]) -> io::Result<()> {
    let mut wire = exchange_keys(stream, host)?;
    let _service_request = wire.receive()?;
    wire.send(&[&[SERVICE_ACCEPT], &string(b"ssh-userauth")[..]].concat())?;
    let _login = wire.receive()?;
    for banner in banners {
        wire.send(&[&[USERAUTH_BANNER], &string(banner.as_bytes())[..], &string(b"")].concat())?;
    }
    wire.send(&[USERAUTH_SUCCESS])?;
    // Until the client says goodbye.
    wire.receive().map(drop)
}

/// RFC 4253, sections 4 to 8.
fn exchange_keys(mut stream: TcpStream, host: &HostKey) -> io::Result<Wire> {
    stream.write_all(format!("{VERSION}\r\n").as_bytes())?;
    let mut theirs = Vec::new();
    while !theirs.ends_with(b"\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        theirs.push(byte[0]);
    }
    let theirs = &theirs[..theirs.len() - 2];
    let mut wire = Wire { stream, sends: None, receives: None };

    let mut offer = vec![KEXINIT];
    offer.extend_from_slice(&[0; 16]);
    let cipher = "aes256-gcm@openssh.com";
    let lists =
        ["curve25519-sha256", "ssh-ed25519", cipher, cipher, "hmac-sha2-256", "hmac-sha2-256", "none", "none", "", ""];
    lists.iter().for_each(|list| offer.extend_from_slice(&string(list.as_bytes())));
    offer.extend_from_slice(&[0; 5]);
    wire.send(&offer)?;
    let their_offer = wire.receive()?;
    let their_point = wire.receive()?.split_off(1 + 4);

    let secret = EphemeralPrivateKey::generate(&X25519, &SystemRandom::new()).unwrap();
    let point = secret.compute_public_key().unwrap().as_ref().to_vec();
    let shared = agree_ephemeral(secret, UnparsedPublicKey::new(&X25519, &their_point), (), |shared| Ok(mpint(shared)));
    let shared = shared.unwrap();
    let said = [theirs, VERSION.as_bytes(), &their_offer, &offer, &host.blob(), &their_point, &point];
    let said: Vec<u8> = said.iter().flat_map(|part| string(part)).chain(shared.iter().copied()).collect();
    let hash = digest(&SHA256, &said);
    let signature = [string(b"ssh-ed25519"), string(host.0.sign(hash.as_ref()).as_ref())].concat();
    let reply = [&[KEX_ECDH_REPLY], &string(&host.blob())[..], &string(&point), &string(&signature)].concat();
    wire.send(&reply)?;
    wire.send(&[NEWKEYS])?;
    let _new_keys = wire.receive()?;

    let derive = |letter: u8| digest(&SHA256, &[&shared, hash.as_ref(), &[letter], hash.as_ref()].concat());
    wire.receives = Some(Half::new(derive(b'A').as_ref(), derive(b'C').as_ref()));
    wire.sends = Some(Half::new(derive(b'B').as_ref(), derive(b'D').as_ref()));
    Ok(wire)
}

/// Packets, in the clear until both halves have keys.
struct Wire {
    stream: TcpStream,
    sends: Option<Half>,
    receives: Option<Half>,
}

/// One direction's cipher.
struct Half {
    key: LessSafeKey,
    nonce: [u8; NONCE_LEN],
}

impl Half {
    fn new(nonce: &[u8], key: &[u8]) -> Self {
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).unwrap());
        Self { key, nonce: nonce[..NONCE_LEN].try_into().unwrap() }
    }

    /// The nonce of the next packet: four fixed bytes and a counter.
    fn nonce(&mut self) -> Nonce {
        let now = Nonce::assume_unique_for_key(self.nonce);
        let count = u64::from_be_bytes(self.nonce[4..].try_into().unwrap());
        self.nonce[4..].copy_from_slice(&count.wrapping_add(1).to_be_bytes());
        now
    }
}

impl Wire {
    fn send(&mut self, payload: &[u8]) -> io::Result<()> {
        // AES-GCM leaves the length in the clear and doesn't pad it.
        let clear = if self.sends.is_some() { 0 } else { 4 };
        let padding = BLOCK + 4 - (clear + 1 + payload.len() + 4) % BLOCK;
        let length = u32::try_from(1 + payload.len() + padding).unwrap().to_be_bytes();
        let mut packet = [&[u8::try_from(padding).unwrap()], payload, &vec![0; padding][..]].concat();
        fill(&mut packet[1 + payload.len()..]).unwrap();
        if let Some(half) = &mut self.sends {
            let nonce = half.nonce();
            half.key.seal_in_place_append_tag(nonce, Aad::from(length), &mut packet).unwrap();
        }
        self.stream.write_all(&[&length[..], &packet].concat())
    }

    fn receive(&mut self) -> io::Result<Vec<u8>> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let tag = if self.receives.is_some() { TAG } else { 0 };
        let mut packet = vec![0; u32::from_be_bytes(length) as usize + tag];
        self.stream.read_exact(&mut packet)?;
        if let Some(half) = &mut self.receives {
            let nonce = half.nonce();
            half.key.open_in_place(nonce, Aad::from(length), &mut packet).unwrap();
            packet.truncate(packet.len() - tag);
        }
        let padding = usize::from(packet[0]);
        packet.truncate(packet.len() - padding);
        packet.remove(0);
        Ok(packet)
    }
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

/// A number that is not negative, as RFC 4251 writes it.
fn mpint(bytes: &[u8]) -> Vec<u8> {
    let digits = &bytes[bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len())..];
    let sign: &[u8] = if digits.first().is_some_and(|first| *first >= 0x80) { &[0] } else { &[] };
    string(&[sign, digits].concat())
}
