//! What a request asks for, told from its first line alone.

use drawbridge_wire::ObjectName;
use hyper::http::request::Parts;
use hyper::{Method, Version};

/// What the gate can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// `POST /manifest`
    Manifest,
    /// `POST /<object>`, by restic's REST protocol.
    Object(ObjectName),
    /// `POST /receipt`
    Receipt,
}

impl Route {
    /// Reads a request's head; nothing for everything else.
    #[must_use]
    pub fn of(head: &Parts) -> Option<Self> {
        // HTTP/1 names a host in the request line only to a proxy, which the gate is not; HTTP/2 always names one.
        let to_a_proxy = head.version < Version::HTTP_2 && head.uri.authority().is_some();
        if head.method != Method::POST || head.uri.query().is_some() || to_a_proxy {
            return None;
        }
        match head.uri.path() {
            "/manifest" => Some(Self::Manifest),
            "/receipt" => Some(Self::Receipt),
            path => path.strip_prefix('/')?.parse().ok().map(Self::Object),
        }
    }
}
