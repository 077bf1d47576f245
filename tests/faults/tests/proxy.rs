//! Each effect, between a caller and a service that counts what reaches it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use drawbridge_faults::fault::{Call, Caller, Effect, Fault};
use drawbridge_faults::proxy::Proxy;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

const BODY: &[u8] = b"{\"a body\": \"of some length\"}";
const ANSWER: &[u8] = b"{\"an answer\": \"of some length\"}";

/// What reached the service: the Host and the body of each whole request.
type Arrived = Arc<Mutex<Vec<(String, Bytes)>>>;

async fn service() -> (u16, Arrived) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, arrived) = (listener.local_addr().unwrap().port(), Arrived::default());
    let into = Arc::clone(&arrived);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let into = Arc::clone(&into);
            let answer = service_fn(move |request: Request<Incoming>| {
                let into = Arc::clone(&into);
                async move {
                    let host = request.headers()["host"].to_str().unwrap().to_owned();
                    let body = request.into_body().collect().await?.to_bytes();
                    into.lock().unwrap().push((host, body));
                    Ok::<_, hyper::Error>(Response::new(Full::new(Bytes::from_static(ANSWER))))
                }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
        }
    });
    (port, arrived)
}

async fn call(url: &str) -> Result<(u16, Bytes), hyper::Error> {
    let at: SocketAddr = url.trim_start_matches("http://").parse().unwrap();
    let stream = TcpStream::connect(at).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::post("/").header("host", "as.signed").header("x-amz-target", "AmazonSSM.GetParameter");
    let response = sender.send_request(request.body(Full::new(Bytes::from_static(BODY))).unwrap()).await?;
    Ok((response.status().as_u16(), response.into_body().collect().await?.to_bytes()))
}

/// What the caller got, and what arrived, when a call met an effect.
async fn met(effect: Effect) -> (Result<(u16, Bytes), hyper::Error>, Vec<(String, Bytes)>) {
    let (port, arrived) = service().await;
    let proxy = Proxy::start(port).await;
    let named = Call { caller: Caller::Verify, action: "ssm:GetParameter".to_owned() };
    proxy.board().arm(&[Fault::first(named.clone(), effect)]);
    let got = call(&proxy.routes()["verify"]).await;
    assert_eq!(proxy.board().seen()[&named].times, 1);
    assert_eq!(proxy.board().strikes().len(), 1);
    let of_the_first = arrived.lock().unwrap().clone();
    let (status, body) = call(&proxy.routes()["verify"]).await.unwrap();
    assert_eq!((status, &body[..]), (200, ANSWER), "the second call meets nothing");
    let last = arrived.lock().unwrap().last().cloned();
    assert_eq!(last, Some(("as.signed".to_owned(), Bytes::from_static(BODY))), "and arrives as it was sent");
    (got, of_the_first)
}

#[tokio::test]
async fn a_failure_before_the_effect_never_arrives() {
    for (effect, status) in [(Effect::Fail, 500), (Effect::Throttle, 400), (Effect::NoCapacity, 500)] {
        let (got, arrived) = met(effect).await;
        assert_eq!((got.unwrap().0, arrived.len()), (status, 0));
    }
}

#[tokio::test]
async fn an_answer_is_lost_after_the_effect() {
    let (got, arrived) = met(Effect::LoseAnswer).await;
    assert!(got.is_err(), "{got:?}");
    assert_eq!(arrived.len(), 1);
}

#[tokio::test]
async fn twice_is_twice_and_answered_once() {
    let (got, arrived) = met(Effect::Twice).await;
    assert_eq!(got.unwrap(), (200, Bytes::from_static(ANSWER)));
    assert_eq!(arrived.len(), 2);
}

#[tokio::test]
async fn a_garbled_answer_is_of_something_that_was_done() {
    let (got, arrived) = met(Effect::Garble).await;
    let (status, body) = got.unwrap();
    assert_eq!((status, arrived.len()), (200, 1));
    assert!(serde_json::from_slice::<serde_json::Value>(&body).is_err(), "{body:?}");
}

#[tokio::test]
async fn a_flipped_bit_is_one_bit() {
    let (_, arrived) = met(Effect::FlipBit).await;
    let flipped: u32 = arrived[0].1.iter().zip(BODY).map(|(now, was)| (now ^ was).count_ones()).sum();
    assert_eq!((flipped, arrived[0].1.len()), (1, BODY.len()));
}

#[tokio::test]
async fn half_of_a_body_is_not_a_request() {
    let (got, arrived) = met(Effect::CutUpload).await;
    assert!(got.is_err(), "{got:?}");
    assert_eq!(arrived.len(), 0);
}

#[tokio::test]
async fn what_is_late_is_done_even_when_nobody_waits_any_more() {
    let (port, arrived) = service().await;
    let proxy = Proxy::start(port).await;
    let named = Call { caller: Caller::Verify, action: "ssm:GetParameter".to_owned() };
    proxy.board().arm(&[Fault::first(named, Effect::Delay { seconds: 1 })]);
    let url = proxy.routes()["verify"].clone();
    assert!(tokio::time::timeout(Duration::from_millis(300), call(&url)).await.is_err());
    assert_eq!(proxy.board().under_way(), 1);
    while proxy.board().under_way() > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(arrived.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_answered_late_was_done_at_once() {
    let (port, arrived) = service().await;
    let proxy = Proxy::start(port).await;
    let named = Call { caller: Caller::Verify, action: "ssm:GetParameter".to_owned() };
    proxy.board().arm(&[Fault::first(named, Effect::DelayAnswer { seconds: 2 })]);
    let url = proxy.routes()["verify"].clone();
    assert!(tokio::time::timeout(Duration::from_secs(1), call(&url)).await.is_err());
    assert_eq!((proxy.board().under_way(), arrived.lock().unwrap().len()), (1, 1));
}
