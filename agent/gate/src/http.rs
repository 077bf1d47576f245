//! What the agent may say: four kinds of `POST`. Everything else is 403, so that nothing can be probed.
//!
//! Invariants:
//! - a put's right ([`Admitted`]) goes back to the admission on every way out, also when the agent hangs up;
//! - an object is acknowledged only after the store has answered for a verified body;
//! - no body waits in line for another's upload.

use std::convert::Infallible;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use drawbridge_wire::{
    BoxConfig, ManifestObject, RunId, StoreOutcome, Timestamp, manifest_key, object_key, receipt_key,
};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use hyper::header::CONTENT_LENGTH;
use hyper::http::request::Parts;
use hyper::{Method, Request, Response};
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::timeout;
use tracing::{info, warn};

use crate::admission::{Admission, Admit, Admitted, Due, Repeated, Terms};
use crate::intake::{Fault, Intake};
use crate::limits::{DISMISSAL_PATIENCE, DISMISSED_BODY_BYTES, MAX_UPLOADS};
use crate::receipt::Letterhead;
use crate::rejection::Rejection;
use crate::route::Route;
use crate::storage::{ObjectStore, Payload, chain, put_whole};
use crate::tally::Tally;

/// The vault, as far as the agent can see it.
pub(crate) struct Vault<S> {
    run: RunId,
    terms: Terms,
    letterhead: Letterhead,
    store: S,
    stall: Duration,
    admission: Mutex<Admission>,
    tally: Tally,
    /// The right to bring the first manifest or to fetch the receipt: each takes up to 35 MiB while it lasts.
    paperwork: Semaphore,
    uploads: Semaphore,
    completed: watch::Sender<bool>,
}

/// How a request will be fulfilled, with every right that it takes.
enum Plan<'a, S: ObjectStore> {
    /// Read it, check it, store it, let it rule.
    TakeManifest { length: usize, _turn: SemaphorePermit<'a> },
    /// It rules already; is it the same?
    CompareManifest { length: u64 },
    /// Send it on to the store.
    Upload { crossing: Crossing<'a, S>, object: ManifestObject, _slot: SemaphorePermit<'a> },
    /// It is in the vault already; is it the same?
    Compare(Repeated),
    /// Write it, unless it is written.
    Receipt { due: Due, _turn: SemaphorePermit<'a> },
}

/// A put under way. Dropping it, for whatever reason, makes the object free to be put again.
struct Crossing<'a, S: ObjectStore> {
    vault: &'a Vault<S>,
    admitted: Option<Admitted>,
}

impl<S: ObjectStore> Crossing<'_, S> {
    fn acknowledge(mut self, outcome: StoreOutcome) {
        if let Some(admitted) = self.admitted.take() {
            self.vault.admission().acknowledge(&admitted, outcome, Timestamp::now());
        }
    }
}

impl<S: ObjectStore> Drop for Crossing<'_, S> {
    fn drop(&mut self) {
        if let Some(admitted) = &self.admitted {
            self.vault.admission().give_up(admitted);
        }
    }
}

impl<S: ObjectStore> Vault<S> {
    pub(crate) fn new(config: &BoxConfig, store: S, stall: Duration) -> Self {
        Self {
            run: config.run.clone(),
            terms: Terms::from(config),
            letterhead: Letterhead::new(config, Timestamp::now()),
            store,
            stall,
            admission: Mutex::default(),
            tally: Tally::default(),
            paperwork: Semaphore::new(1),
            uploads: Semaphore::new(MAX_UPLOADS),
            completed: watch::Sender::new(false),
        }
    }

    pub(crate) fn store(&self) -> &S {
        &self.store
    }

    /// Becomes true when the receipt is written.
    pub(crate) fn completed(&self) -> watch::Receiver<bool> {
        self.completed.subscribe()
    }

    /// Answers one request.
    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let (head, body) = request.into_parts();
        // Without the header, hyper takes an HTTP/1 body as empty.
        let length = head.headers.get(CONTENT_LENGTH).and_then(|_| body.size_hint().exact());
        let fulfilled = match self.plan(&head, length) {
            Ok(plan) => self.carry_out(plan, body).await,
            Err(rejection) => {
                self.dismiss(body).await;
                Err(rejection)
            }
        };
        Ok(match fulfilled {
            Ok(()) => Response::new(Full::default()),
            Err(rejection) => {
                let (status, reason) = (rejection.status().as_u16(), chain(&rejection));
                if let Some(check) = rejection.check() {
                    self.tally.refused(check);
                }
                warn!(method = %head.method, path = shortened(head.uri.path()), status, reason, "rejected");
                let mut response = rejection.answer();
                if head.method == Method::HEAD {
                    // hyper's HTTP/2 would send it.
                    *response.body_mut() = Full::default();
                }
                response
            }
        })
    }

    /// Decides, without reading the body.
    fn plan(&self, head: &Parts, length: Option<u64>) -> Result<Plan<'_, S>, Rejection> {
        let turn = || self.paperwork.try_acquire().map_err(|_| Rejection::Busy);
        match Route::of(head).ok_or(Rejection::Forbidden)? {
            Route::Manifest => {
                let in_force = self.admission().has_manifest()?;
                let length = self.terms.admit_manifest(length)?;
                if in_force {
                    return Ok(Plan::CompareManifest { length: length as u64 });
                }
                Ok(Plan::TakeManifest { length, _turn: turn()? })
            }
            Route::Object(name) => {
                let admit = self.admission().admit(name, length)?;
                match admit {
                    Admit::Again(repeated) => Ok(Plan::Compare(repeated)),
                    Admit::Upload(admitted) => {
                        let object = *admitted.object();
                        let crossing = Crossing { vault: self, admitted: Some(admitted) };
                        let _slot = self.uploads.try_acquire().map_err(|_| Rejection::Busy)?;
                        Ok(Plan::Upload { crossing, object, _slot })
                    }
                }
            }
            Route::Receipt => {
                if length.is_some_and(|length| length > 0) {
                    return Err(Rejection::Unwanted);
                }
                let _turn = turn()?;
                let due = self.admission().receipt()?;
                Ok(Plan::Receipt { due, _turn })
            }
        }
    }

    async fn carry_out(&self, plan: Plan<'_, S>, body: Incoming) -> Result<(), Rejection> {
        match plan {
            Plan::TakeManifest { length, _turn } => self.take_manifest(length, body).await,
            Plan::CompareManifest { length } => {
                self.finish(&Intake::again(body, length, self.terms.manifest_sha256)).await
            }
            Plan::Upload { crossing, object, _slot } => {
                let outcome = self.put(&object, body).await?;
                crossing.acknowledge(outcome);
                info!(object = %object.name(), bytes = object.size(), ?outcome, "taken");
                Ok(())
            }
            Plan::Compare(repeated) => {
                let object = repeated.object();
                self.finish(&Intake::again(body, object.size(), object.digest())).await
            }
            Plan::Receipt { due, _turn } => self.write_receipt(due).await,
        }
    }

    /// Reads a small body that nobody wants, so that its HTTP/1 stream can go on; a large one ends the stream.
    async fn dismiss(&self, mut body: Incoming) {
        if body.size_hint().upper().is_some_and(|bytes| bytes <= DISMISSED_BODY_BYTES) {
            let rest = async { while let Some(Ok(_)) = body.frame().await {} };
            // Whoever doesn't send it loses the stream.
            let _ = timeout(DISMISSAL_PATIENCE, rest).await;
        }
    }

    fn admission(&self) -> MutexGuard<'_, Admission> {
        self.admission.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn take_manifest(&self, length: usize, body: Incoming) -> Result<(), Rejection> {
        let text = self.read(body, length).await?;
        let (terms, parsing) = (self.terms.clone(), text.clone());
        let checked = tokio::task::spawn_blocking(move || terms.check(&parsing));
        let checked = checked.await.map_err(|error| Rejection::Internal(error.into()))??;
        let outcome = put_whole(&self.store, &manifest_key(&self.run), text).await?;
        self.admission().open(checked, Timestamp::now());
        info!(?outcome, objects = self.terms.objects, bytes = self.terms.bytes, "manifest taken");
        Ok(())
    }

    /// Reads a body of exactly this length into memory.
    async fn read(&self, mut body: Incoming, length: usize) -> Result<Bytes, Rejection> {
        let mut text = Vec::with_capacity(length);
        while text.len() < length {
            let frame = timeout(self.stall, body.frame()).await.map_err(|_| Rejection::Stalled(self.stall))?;
            let chunk = match frame {
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                Some(Err(_)) | None => return Err(Fault::CutOff.into()),
            };
            if chunk.len() > length - text.len() {
                return Err(Fault::TooLong.into());
            }
            text.extend_from_slice(&chunk);
        }
        Ok(Bytes::from(text))
    }

    async fn put(&self, object: &ManifestObject, body: Incoming) -> Result<StoreOutcome, Rejection> {
        let intake = Intake::of_object(body, object);
        if let Some(fault) = intake.fault() {
            return Err(fault.into());
        }
        let key = object_key(&self.terms.repository, &object.name());
        let putting = self.store.put(&key, object.digest(), object.size(), Payload::Stream(intake.lend()));
        let put = tokio::select! {
            put = putting => put,
            () = intake.stalled(self.stall) => return Err(Rejection::Stalled(self.stall)),
        };
        match (put, intake.fault()) {
            // The store's error is only the echo of the body's.
            (Err(_), Some(fault)) => Err(fault.into()),
            (Err(error), None) => Err(error.into()),
            (Ok(outcome), _) => {
                // A store that knows at once that the key exists doesn't read the body. The same name with other bytes
                // is refused all the same.
                self.finish(&intake).await?;
                Ok(outcome)
            }
        }
    }

    async fn finish(&self, intake: &Intake) -> Result<(), Rejection> {
        tokio::select! {
            rest = intake.reclaim() => Ok(rest?),
            () = intake.stalled(self.stall) => Err(Rejection::Stalled(self.stall)),
        }
    }

    async fn write_receipt(&self, due: Due) -> Result<(), Rejection> {
        if let Due::Write { entries, completed_at } = due {
            let objects = entries.len();
            let receipt = self.letterhead.receipt(entries, &self.tally, completed_at);
            let receipt = receipt.map_err(|error| Rejection::Internal(error.into()))?;
            let outcome = put_whole(&self.store, &receipt_key(&self.run), receipt).await?;
            self.admission().complete();
            info!(?outcome, objects, "receipt written");
            self.completed.send_replace(true);
        }
        Ok(())
    }
}

/// The beginning of a path, for the log; every path that the gate knows is shorter.
fn shortened(path: &str) -> &str {
    const LONGEST: usize = 128;
    path.get(..LONGEST).unwrap_or(path)
}
