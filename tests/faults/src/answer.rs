//! What a service would answer if it failed, in its own words.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Response, StatusCode};

use crate::call::Protocol;

/// An answer, whole.
pub type Answer = Response<Full<Bytes>>;

/// The service's internal error.
#[must_use]
pub fn internal_error(protocol: Protocol) -> Answer {
    let code = match protocol {
        Protocol::Json => "InternalServerError",
        Protocol::Query | Protocol::S3 => "InternalError",
        Protocol::Lambda => "ServiceException",
    };
    error(protocol, 500, code, "a fault that a test injected")
}

/// Too many calls.
#[must_use]
pub fn throttled(protocol: Protocol) -> Answer {
    let (status, code) = match protocol {
        Protocol::Json => (400, "ThrottlingException"),
        Protocol::Query => (503, "RequestLimitExceeded"),
        Protocol::Lambda => (429, "TooManyRequestsException"),
        Protocol::S3 => (503, "SlowDown"),
    };
    error(protocol, status, code, "a fault that a test injected")
}

/// EC2 has no machine of that kind left; it says so with the status of an internal error.
#[must_use]
pub fn no_capacity() -> Answer {
    let message = "We currently do not have sufficient capacity in the Availability Zone you requested";
    error(Protocol::Query, 500, "InsufficientInstanceCapacity", message)
}

/// EC2 doesn't know the instance that a call names.
#[must_use]
pub fn instance_not_found() -> Answer {
    error(Protocol::Query, 400, "InvalidInstanceID.NotFound", "The instance ID does not exist")
}

/// EC2 finds no instance.
#[must_use]
pub fn no_instances() -> Answer {
    let body = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<DescribeInstancesResponse \
                xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>fault</requestId><reservationSet/>\
                </DescribeInstancesResponse>";
    respond(200, "text/xml", body.to_owned())
}

/// The answer as it arrives when something on the way damaged it.
#[must_use]
pub fn garbled(answer: Answer, body: &Bytes) -> Answer {
    let (mut parts, _) = answer.into_parts();
    parts.headers.remove("content-length");
    parts.headers.remove("transfer-encoding");
    // The beginning of the truth, so that it looks like an answer for as long as possible.
    let mut damaged = body[..body.len() / 2].to_vec();
    damaged.extend_from_slice(b"\x00\xff{]<garbled");
    Response::from_parts(parts, Full::from(damaged))
}

fn error(protocol: Protocol, status: u16, code: &str, message: &str) -> Answer {
    match protocol {
        Protocol::Json => {
            let body = format!("{{\"__type\":\"{code}\",\"message\":\"{message}\"}}");
            respond(status, "application/x-amz-json-1.0", body)
        }
        Protocol::Query => {
            let error = format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>");
            let body = format!("<Response><Errors>{error}</Errors><RequestID>fault</RequestID></Response>");
            respond(status, "text/xml", body)
        }
        Protocol::Lambda => {
            let body = format!("{{\"Type\":\"Service\",\"Message\":\"{message}\",\"message\":\"{message}\"}}");
            let mut answer = respond(status, "application/json", body);
            if let Ok(code) = code.parse() {
                answer.headers_mut().insert("x-amzn-errortype", code);
            }
            answer
        }
        Protocol::S3 => {
            let body = format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>");
            respond(status, "application/xml", body)
        }
    }
}

fn respond(status: u16, kind: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Full::from(body));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static(kind));
    answer.headers_mut().insert("x-amzn-requestid", hyper::header::HeaderValue::from_static("fault"));
    answer
}
