//! Which call an HTTP request is.

use hyper::Method;
use hyper::http::request::Parts;

use crate::fault::{Call, Caller};

/// How a service words requests and errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// JSON with the action in `X-Amz-Target`: Step Functions, Systems Manager.
    Json,
    /// A form with the action in it, answered in XML: EC2, STS.
    Query,
    /// REST with JSON: Lambda.
    Lambda,
    /// REST with XML: S3.
    S3,
}

/// Names a request that came in where `listener`'s calls come in.
#[must_use]
pub fn identify(listener: Caller, parts: &Parts, body: &[u8]) -> (Call, Protocol) {
    // Whoever holds a presigned URL calls where its maker would: the box fetches its program there.
    let presigned = parts.uri.query().is_some_and(|query| query.contains("X-Amz-Signature="));
    let caller = if presigned { Caller::Box } else { listener };
    let (action, protocol) = action(parts, body);
    (Call { caller, action }, protocol)
}

fn action(parts: &Parts, body: &[u8]) -> (String, Protocol) {
    if let Some(target) = parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok()) {
        let (service, operation) = target.rsplit_once('.').unwrap_or(("", target));
        let service = match service {
            "AWSStepFunctions" => "states",
            "AmazonSSM" => "ssm",
            other => other,
        };
        return (format!("{service}:{operation}"), Protocol::Json);
    }
    let path = parts.uri.path();
    if let Some(function) = path.strip_prefix("/2015-03-31/functions/") {
        let name = function.strip_suffix("/invocations").unwrap_or(function);
        // A name or an ARN, whose last part is the function's role.
        return (format!("lambda:Invoke {}", name.rsplit('-').next().unwrap_or(name)), Protocol::Lambda);
    }
    let is_form =
        parts.headers.get("content-type").is_some_and(|kind| kind.as_bytes().starts_with(b"application/x-www-form"));
    if is_form && path == "/" {
        let text = String::from_utf8_lossy(body);
        let field =
            |name: &str| text.split('&').find_map(|pair| pair.strip_prefix(name)).unwrap_or_default().to_owned();
        let service = if field("Version=") == "2011-06-15" { "sts" } else { "ec2" };
        return (format!("{service}:{}", field("Action=")), Protocol::Query);
    }
    (s3(parts), Protocol::S3)
}

fn s3(parts: &Parts) -> String {
    let query = parts.uri.query().unwrap_or_default();
    let has = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
    let operation = match &parts.method {
        method if has("retention") => {
            if method == Method::GET {
                "GetObjectRetention"
            } else {
                "PutObjectRetention"
            }
        }
        &Method::GET if has("list-type") => "ListObjectsV2",
        &Method::GET if has("versions") => "ListObjectVersions",
        &Method::GET => "GetObject",
        &Method::HEAD => "HeadObject",
        &Method::PUT => "PutObject",
        &Method::DELETE => "DeleteObject",
        other => other.as_str(),
    };
    // Path style: the bucket comes first.
    let key = parts.uri.path().trim_start_matches('/').split_once('/').map_or("", |(_, key)| key);
    format!("s3:{operation} {}", kind_of(key)).trim_end().to_owned()
}

/// The kind of a key: everything of it that isn't some run's, repository's or object's own.
fn kind_of(key: &str) -> String {
    let segments: Vec<&str> = key.split('/').filter(|segment| !segment.is_empty()).collect();
    match segments.as_slice() {
        ["repo" | "runs", _, kind, ..] => {
            format!("{}/{}", segments[0], kind.strip_suffix(".json").unwrap_or(kind))
        }
        [first, ..] => (*first).to_owned(),
        [] => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = hyper::Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn calls_are_named_as_iam_names_them() {
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let hash = "ab".repeat(32);
        for (parts, body, named) in [
            (parts("POST", "/", &[("x-amz-target", "AmazonSSM.PutParameter")]), "{}", "ssm:PutParameter"),
            (
                parts("POST", "/", &[("x-amz-target", "AWSStepFunctions.SendTaskSuccess")]),
                "{}",
                "states:SendTaskSuccess",
            ),
            (parts("POST", "/", &form), "Action=RunInstances&Version=2016-11-15", "ec2:RunInstances"),
            (parts("POST", "/", &form), "Version=2011-06-15&Action=GetCallerIdentity", "sts:GetCallerIdentity"),
            (
                parts("POST", "/2015-03-31/functions/drawbridge-my-home-start/invocations", &[]),
                "",
                "lambda:Invoke start",
            ),
            (
                parts(
                    "POST",
                    "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aeu%3A1%3Afunction%3Adrawbridge-home-verify/invocations",
                    &[],
                ),
                "",
                "lambda:Invoke verify",
            ),
            (
                parts("PUT", &format!("/vault/repo/2026-11-0123456789abcdef/data/{hash}?x-id=PutObject"), &[]),
                "",
                "s3:PutObject repo/data",
            ),
            (parts("PUT", "/vault/repo/2026-11-0123456789abcdef/config", &[]), "", "s3:PutObject repo/config"),
            (parts("PUT", "/vault/runs/home-1/manifest.json", &[]), "", "s3:PutObject runs/manifest"),
            (parts("PUT", "/vault/runs/home-1/ready/i-1.json", &[]), "", "s3:PutObject runs/ready"),
            (parts("HEAD", &format!("/vault/artifacts/{hash}"), &[]), "", "s3:HeadObject artifacts"),
            (parts("GET", "/vault/?list-type=2&prefix=repo%2F", &[]), "", "s3:ListObjectsV2"),
            (parts("GET", "/vault/?versions&prefix=repo%2F", &[]), "", "s3:ListObjectVersions"),
            (parts("PUT", "/vault/evidence/2026-11-0123456789abcdef.json", &[]), "", "s3:PutObject evidence"),
            (
                parts("GET", &format!("/vault/repo/r/index/{hash}?retention"), &[]),
                "",
                "s3:GetObjectRetention repo/index",
            ),
        ] {
            assert_eq!(action(&parts, body.as_bytes()).0, named);
        }
        let presigned = parts("GET", &format!("/vault/artifacts/{hash}?X-Amz-Signature=00"), &[]);
        assert_eq!(identify(Caller::Provision, &presigned, b"").0.to_string(), "box s3:GetObject artifacts");
    }
}
