//! The tables `[stack]` and `[vault]`.

use std::path::Path;

use drawbridge_wire::Ipv4Net;
use toml::Spanned;

use super::{Checked, fault, present, resolve};
use crate::config::{Stack, read};

pub(super) fn stack(raw: &read::Stack, base: &Path) -> Checked<Stack> {
    let region = raw.region.get_ref();
    if region.is_empty() || !region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        return fault(&raw.region, "region must be an AWS region such as eu-central-1");
    }
    let source_cidr = match &raw.source_cidr {
        None => None,
        Some(written) => Some(cidr(written)?),
    };
    let endpoint_url = match &raw.endpoint_url {
        None => None,
        Some(written) => Some(endpoint(written)?),
    };
    Ok(Stack {
        region: region.clone(),
        start: function(&raw.start)?,
        session: function(&raw.session)?,
        report: function(&raw.report)?,
        source_cidr,
        profile: raw.profile.as_ref().map(|written| present("profile", written)).transpose()?,
        credentials_file: raw.credentials_file.as_ref().map(|written| resolve(base, written)).transpose()?,
        endpoint_url,
    })
}

/// Source: docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html.
pub(super) fn bucket(written: &Spanned<String>) -> Checked<String> {
    let name = written.get_ref();
    let valid = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b);
    if !(3..=63).contains(&name.len()) || !name.bytes().all(valid) {
        return fault(written, "bucket must be the name of the vault's bucket: 3 to 63 of a-z, 0-9, hyphens and dots");
    }
    Ok(name.clone())
}

fn cidr(written: &Spanned<String>) -> Checked<Ipv4Net> {
    match written.get_ref().parse::<Ipv4Net>() {
        Ok(net) if net.trunc() == net => Ok(net),
        Ok(net) => fault(
            written,
            format!(
                "source_cidr has bits set beyond its prefix: write {} for the range, or {}/32 for the one address",
                net.trunc(),
                net.addr()
            ),
        ),
        Err(_) => fault(written, "source_cidr must be an IPv4 range such as 203.0.113.7/32"),
    }
}

fn function(written: &Spanned<String>) -> Checked<String> {
    /// The longest name or ARN that Lambda's Invoke takes, in characters.
    /// Source: docs.aws.amazon.com/lambda/latest/api/API_Invoke.html, FunctionName.
    const MAX_FUNCTION_NAME: usize = 170;
    let name = written.get_ref();
    let valid = |b: u8| b.is_ascii_alphanumeric() || b":-_$".contains(&b);
    if name.is_empty() || name.len() > MAX_FUNCTION_NAME || !name.bytes().all(valid) {
        return fault(written, "this must be the name or the ARN of a Lambda function, as `sam deploy` printed it");
    }
    Ok(name.clone())
}

/// Credentials sign the requests, but what they say would be readable on the way.
fn endpoint(written: &Spanned<String>) -> Checked<String> {
    let url = written.get_ref();
    let Ok(uri) = url.parse::<hyper::Uri>() else {
        return fault(written, "endpoint_url must be a URL such as https://lambda.example.net");
    };
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let loopback = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    match uri.scheme_str() {
        Some("https") if !host.is_empty() => Ok(url.clone()),
        Some("http") if loopback => Ok(url.clone()),
        Some("http") => fault(written, "endpoint_url must begin with https:// unless it is on this machine"),
        _ => fault(written, "endpoint_url must be a URL such as https://lambda.example.net"),
    }
}
