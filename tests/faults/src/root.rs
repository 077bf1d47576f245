//! Calls for which the workspace has no client, as the emulator's own account: it takes an account number for its key.

use std::net::SocketAddr;

use bytes::Bytes;
use drawbridge_local::StackDescription;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

/// The emulator's root.
#[derive(Debug, Clone)]
pub struct Root {
    at: SocketAddr,
    account: String,
    region: String,
}

impl Root {
    /// Of a stack.
    #[must_use]
    pub fn of(stack: &StackDescription) -> Self {
        let at = stack.endpoint_url.trim_start_matches("http://").parse().unwrap();
        Self { at, account: stack.account.clone(), region: stack.region.clone() }
    }

    /// Makes one call of a JSON protocol.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn call(&self, service: &str, target: &str, body: &Value) -> Value {
        let stream = TcpStream::connect(self.at).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        let scope = format!("{}/20260101/{}/{service}/aws4_request", self.account, self.region);
        let request = Request::post("/")
            .header("host", self.at.to_string())
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", target)
            .header("authorization", format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=00"))
            .body(Full::new(Bytes::from(body.to_string())))
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        drop(sender);
        connection.abort();
        assert!(status.is_success(), "{target}: {status} {}", String::from_utf8_lossy(&body));
        if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() }
    }

    /// The rules that invoke a function.
    pub async fn rules_of(&self, function: &str) -> Vec<String> {
        let answer = self.call("events", "AWSEvents.ListRules", &json!({})).await;
        let mut found = Vec::new();
        for rule in answer["Rules"].as_array().into_iter().flatten().filter_map(|rule| rule["Name"].as_str()) {
            let targets = self.call("events", "AWSEvents.ListTargetsByRule", &json!({ "Rule": rule })).await;
            let arns = targets["Targets"].as_array().into_iter().flatten().filter_map(|target| target["Arn"].as_str());
            if arns.into_iter().any(|arn| arn.ends_with(&format!(":{function}"))) {
                found.push(rule.to_owned());
            }
        }
        found
    }

    /// Lets a rule deliver its events, or not.
    pub async fn deliver(&self, rule: &str, does: bool) {
        let target = if does { "AWSEvents.EnableRule" } else { "AWSEvents.DisableRule" };
        self.call("events", target, &json!({ "Name": rule })).await;
    }
}
