//! Why a request is not fulfilled: in words, as a status, and by which check.

use std::time::Duration;

use bytes::Bytes;
use drawbridge_wire::{Check, ObjectKind};
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use thiserror::Error;

use crate::admission::Refusal;
use crate::intake::Fault;
use crate::key_shape::KeyFlaw;
use crate::shape::Misfit;
use crate::storage::StoreError;

/// Why a request is not fulfilled.
#[derive(Debug, Error)]
pub(crate) enum Rejection {
    /// Not a request that the gate knows.
    #[error("forbidden")]
    Forbidden,
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Body(#[from] Fault),
    /// A body where none belongs.
    #[error("the body must be empty")]
    Unwanted,
    #[error("the vault cannot be reached now")]
    Store(#[from] StoreError),
    #[error("nothing moved for {0:?}")]
    Stalled(Duration),
    #[error("too many requests at once")]
    Busy,
    /// A fault of the gate's own.
    #[error("internal error")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Rejection {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Forbidden | Self::Refused(Refusal::Undeclared) => StatusCode::FORBIDDEN,
            Self::Body(Fault::Misfit(_)) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Body(_) | Self::Unwanted => StatusCode::BAD_REQUEST,
            Self::Store(_) | Self::Stalled(_) | Self::Busy | Self::Refused(Refusal::Crossing) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Refused(refusal) => match refusal {
                Refusal::LengthRequired => StatusCode::LENGTH_REQUIRED,
                Refusal::ManifestTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
                Refusal::ManifestMalformed(_)
                | Refusal::ManifestRepository
                | Refusal::ManifestTotals { .. }
                | Refusal::Misshapen { .. } => StatusCode::UNPROCESSABLE_ENTITY,
                Refusal::TooLarge { .. } => StatusCode::INSUFFICIENT_STORAGE,
                Refusal::ManifestFirst | Refusal::OutOfOrder { .. } | Refusal::Incomplete(_) | Refusal::Complete => {
                    StatusCode::CONFLICT
                }
                Refusal::ManifestHash { .. } | Refusal::TooSmall { .. } | Refusal::Crossing | Refusal::Undeclared => {
                    StatusCode::BAD_REQUEST
                }
            },
        }
    }

    pub(crate) fn answer(&self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::from(format!("{self}\n")));
        *response.status_mut() = self.status();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if self.status() == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }

    /// The check that says no. None of them does when the trouble is the moment's or the store's.
    pub(crate) const fn check(&self) -> Option<Check> {
        match self {
            Self::Forbidden | Self::Unwanted => Some(Check::Request),
            Self::Refused(refusal) => of_refusal(refusal),
            Self::Body(fault) => of_fault(*fault),
            Self::Store(_) | Self::Stalled(_) | Self::Busy | Self::Internal(_) => None,
        }
    }
}

const fn of_refusal(refusal: &Refusal) -> Option<Check> {
    match refusal {
        Refusal::Undeclared
        | Refusal::ManifestMalformed(_)
        | Refusal::ManifestRepository
        | Refusal::ManifestTotals { .. } => Some(Check::Declared),
        Refusal::LengthRequired
        | Refusal::ManifestTooLarge(_)
        | Refusal::TooSmall { .. }
        | Refusal::TooLarge { .. } => Some(Check::Size),
        Refusal::ManifestFirst | Refusal::OutOfOrder { .. } | Refusal::Incomplete(_) | Refusal::Complete => {
            Some(Check::Order)
        }
        Refusal::ManifestHash { .. } => Some(Check::Sha256),
        Refusal::Misshapen { kind, .. } => Some(match kind {
            ObjectKind::Key => Check::Key,
            ObjectKind::Config => Check::Config,
            ObjectKind::Data => Check::Pack,
            // Too short for what encryption adds.
            ObjectKind::Index | ObjectKind::Snapshot => Check::Ciphertext,
        }),
        Refusal::Crossing => None,
    }
}

const fn of_fault(fault: Fault) -> Option<Check> {
    match fault {
        Fault::Hash => Some(Check::Sha256),
        Fault::TooLong => Some(Check::Size),
        Fault::Misfit(Misfit::Plaintext(_) | Misfit::Key(KeyFlaw::Plaintext(_))) => Some(Check::Ciphertext),
        Fault::Misfit(Misfit::Key(_)) => Some(Check::Key),
        Fault::Misfit(Misfit::Pack) => Some(Check::Pack),
        // Cut lines are nobody's fault.
        Fault::CutOff | Fault::Reclaimed => None,
    }
}
