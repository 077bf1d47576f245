//! One source from its beginning to its end: reach it, collect, judge, commit.

use std::cell::RefCell;
use std::io;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use drawbridge_hosts::{Host, Patience, SshError, connect};
use thiserror::Error;

use crate::catalogue::{Catalogue, CatalogueError};
use crate::check::{Rejection, Totals, Vanish};
use crate::collect::{self, CollectError, Collected, Errand, Job, MAX_PATH_BYTES};
use crate::commands::{self, Shell};
use crate::local::{LocalTree, is_mount_point};
use crate::mirror::MirrorDir;
use crate::outcome::{SourceOutcome, in_one_line};
use crate::pattern::{Pattern, Patterns};
use crate::preview::Coming;
use crate::remote::RemoteTree;
use crate::site::Site;
use crate::source::{Files, Mount, Place, Source, What};
use crate::staging::Staging;
use crate::throttle::Throttle;
use crate::{Deaf, Progress, Settings, aside, commit};

/// How much may be asked of a host beforehand, in bytes: what fills a gigabit line at 20 ms of round trip, three times.
const BYTES_AHEAD: usize = 8 << 20;

/// How long to wait before the second attempt; each later one waits twice as long as the one before.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);

/// The longest wait between two attempts.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

/// What all sources of one gathering share.
pub(crate) struct Shared {
    pub(crate) site: Site,
    pub(crate) settings: Settings,
    pub(crate) throttle: Throttle,
    pub(crate) called_off: AtomicBool,
    /// Whether all that the last gathering fetched was on the disk when this one began.
    pub(crate) was_settled: bool,
    pub(crate) boot: String,
}

/// Why a source failed.
#[derive(Debug, Error)]
pub(crate) enum SourceError {
    #[error(transparent)]
    Ssh(#[from] SshError),
    #[error(transparent)]
    Collect(#[from] CollectError),
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    #[error("the mirror can't be used")]
    Mirror(#[source] io::Error),
    #[error(
        "nothing is mounted at {path}, and what an empty folder holds isn't taken for the source: mount it, or correct require_mount"
    )]
    NotMounted { path: String },
    #[error("{path} can't be looked at")]
    Mount { path: String, source: io::Error },
    #[error("it took longer than {} s: exclude what isn't needed, or raise timeout", .0.as_secs())]
    TooSlow(Duration),
    #[error("{rejection}; the last good copy stays, {kept}")]
    Rejected { rejection: Rejection, kept: String },
}

impl SourceError {
    fn may_pass(&self) -> bool {
        match self {
            Self::Ssh(error) => error.may_pass(),
            Self::Collect(error) => error.may_pass(),
            _ => false,
        }
    }
}

/// Gathers `source`. Runs on a thread of its own.
pub(crate) async fn gather(shared: &Shared, source: &Source, progress: &dyn Progress) -> SourceOutcome {
    gather_by(shared, source, progress, async |job: &Job<'_>| once(shared, source, job).await).await
}

/// Gathers `source` by whatever `once` does for one attempt.
pub(crate) async fn gather_by(
    shared: &Shared,
    source: &Source,
    progress: &dyn Progress,
    once: impl AsyncFn(&Job<'_>) -> Result<Collected, SourceError>,
) -> SourceOutcome {
    match try_gather(shared, source, progress, once).await {
        Ok(outcome) => outcome,
        Err(error) => SourceOutcome::failed(&source.name, in_one_line(&error)),
    }
}

async fn try_gather(
    shared: &Shared,
    source: &Source,
    progress: &dyn Progress,
    once: impl AsyncFn(&Job<'_>) -> Result<Collected, SourceError>,
) -> Result<SourceOutcome, SourceError> {
    let site = &shared.site;
    let (mirror, mirrored) = folders(site, source)?;
    let staging = Staging::open(&site.staging(&source.name), mirrored.as_ref()).map_err(SourceError::Mirror)?;
    let (aside, catalogue) = (site.aside(&source.name), site.catalogue_path(&source.name));
    let place = place(source);
    let old = RefCell::new(last_catalogue(site, source, &place, progress));
    let errand =
        Errand::Fetch { staging: &staging, aside: &aside, catalogue: &catalogue, place: &place, boot: &shared.boot };
    let collected = attempts(shared, source, mirrored.as_ref(), &old, errand, progress, once).await?;

    let held = old.borrow().as_ref().map(|old| old.totals.files).filter(|held| *held > 0);
    let vanish = held.filter(|_| !shared.settings.accept_vanished);
    let vanish = vanish.map(|held| Vanish { held, gone: held.saturating_sub(collected.still_there) });
    let Collected { draft, mut counts, problems, changed, .. } = collected;
    let totals = Totals { files: counts.files, bytes: counts.bytes };
    if let Err(rejection) = source.rule.judge(&source.name, totals, vanish) {
        let kept = aside::keep_all(&aside, &staging, draft.as_ref(), mirrored.as_ref())?;
        return Err(SourceError::Rejected { rejection, kept });
    }
    let complete = problems.is_empty();
    if let Some(draft) = draft {
        let folder = mirror.ensure_dir(source.name.as_ref()).map_err(SourceError::Mirror)?;
        counts.removed = commit::commit(draft, old.borrow_mut().as_mut(), &staging, &folder, complete)?;
    }
    if complete {
        aside::clear(&aside).map_err(SourceError::Mirror)?;
    }
    Ok(SourceOutcome { name: source.name.clone(), state: problems.into_state(), counts, changed })
}

/// Says what a gathering would bring.
pub(crate) async fn preview(shared: &Shared, source: &Source, tell: &dyn Fn(Coming)) -> SourceOutcome {
    match try_preview(shared, source, tell).await {
        Ok(outcome) => outcome,
        Err(error) => SourceOutcome::failed(&source.name, in_one_line(&error)),
    }
}

async fn try_preview(shared: &Shared, source: &Source, tell: &dyn Fn(Coming)) -> Result<SourceOutcome, SourceError> {
    let (_, mirrored) = folders(&shared.site, source)?;
    let old = RefCell::new(last_catalogue(&shared.site, source, &place(source), &Deaf));
    let once = async |job: &Job<'_>| once(shared, source, job).await;
    let collected = attempts(shared, source, mirrored.as_ref(), &old, Errand::Preview(tell), &Deaf, once).await?;
    let Collected { counts, problems, changed, .. } = collected;
    Ok(SourceOutcome { name: source.name.clone(), state: problems.into_state(), counts, changed })
}

/// The mirror, and the source's folder in it, if there is one yet.
fn folders(site: &Site, source: &Source) -> Result<(MirrorDir, Option<MirrorDir>), SourceError> {
    let mirror = MirrorDir::open_or_make(&site.mirror()).map_err(SourceError::Mirror)?;
    let mirrored = mirror.below(source.name.as_ref()).map_err(SourceError::Mirror)?;
    Ok((mirror, mirrored))
}

/// The catalogue of the last gathering, if it is of this place. One that can't be read says nothing: everything is fetched.
fn last_catalogue(site: &Site, source: &Source, place: &str, progress: &dyn Progress) -> Option<Catalogue> {
    match site.catalogue(&source.name) {
        Ok(found) => found.filter(|old| old.header.place == place),
        Err(error) => {
            progress.note(&format!("{}, so everything is fetched again", in_one_line(&error)));
            None
        }
    }
}

fn place(source: &Source) -> String {
    match &source.place {
        Place::Local { .. } => "this machine".to_owned(),
        Place::Ssh(target) => format!("{} as {}", target.host, target.user.as_deref().unwrap_or("the configured user")),
    }
}

/// How long a path may be so that the mirror's, which it becomes a part of, isn't too long for this machine, in bytes.
fn longest_path(site: &Site, source: &Source) -> usize {
    MAX_PATH_BYTES.saturating_sub(site.mirror().join(&source.name).as_os_str().len())
}

/// Tries until it works, fails for good, or the time is up.
async fn attempts(
    shared: &Shared,
    source: &Source,
    mirror: Option<&MirrorDir>,
    old: &RefCell<Option<Catalogue>>,
    errand: Errand<'_>,
    progress: &dyn Progress,
    once: impl AsyncFn(&Job<'_>) -> Result<Collected, SourceError>,
) -> Result<Collected, SourceError> {
    let limits = &source.limits;
    let throttle = Throttle::new(limits.bandwidth);
    let no_files;
    let files = match &source.what {
        What::Files(files) => files,
        What::Commands(_) => {
            no_files = Files::none();
            &no_files
        }
    };
    let patterns = Patterns::new(files.paths.iter().chain(&files.if_present).cloned().collect());
    let job = Job {
        files,
        limits,
        patterns: &patterns,
        required: files.paths.len(),
        longest_path: longest_path(&shared.site, source),
        mirror,
        old,
        unsettled: !shared.was_settled,
        distrust: !shared.was_settled
            && old.borrow().as_ref().is_some_and(|old| old.header.boot != shared.boot || shared.boot.is_empty()),
        errand,
        progress,
        throttles: [&shared.throttle, &throttle],
        called_off: &shared.called_off,
    };
    let tries = async {
        let mut wait = FIRST_BACKOFF;
        for attempt in 0_u32.. {
            match once(&job).await {
                Err(error) if error.may_pass() && attempt < limits.retries => {
                    let what = in_one_line(&error);
                    progress.note(&format!("{what}; trying again in {} s", wait.as_secs()));
                    tokio::time::sleep(wait).await;
                    wait = wait.saturating_mul(2).min(LONGEST_BACKOFF);
                }
                done => return done,
            }
        }
        Err(SourceError::TooSlow(limits.time))
    };
    tokio::time::timeout(limits.time, tries).await.unwrap_or(Err(SourceError::TooSlow(limits.time)))
}

async fn once(shared: &Shared, source: &Source, job: &Job<'_>) -> Result<Collected, SourceError> {
    match (&source.place, &source.what) {
        (Place::Local { require_mount }, what) => {
            require_mount.iter().try_for_each(check_mounted)?;
            match what {
                What::Files(files) => {
                    let within =
                        files.paths.iter().chain(&files.if_present).map(|path| path.literal_prefix()).collect();
                    let tree = LocalTree::without(shared.site.state_dir(), within).map_err(SourceError::Mirror)?;
                    Ok(collect::collect(&tree, job).await?)
                }
                What::Commands(list) => Ok(commands::collect(&Shell::Here, list, job).await?),
            }
        }
        (Place::Ssh(target), what) => {
            let patience = Patience { connect: source.limits.connect, silence: source.limits.silence };
            let host = connect(target, patience).await?;
            let collected = on_host(&host, what, job).await;
            host.close().await;
            collected
        }
    }
}

fn check_mounted(mount: &Mount) -> Result<(), SourceError> {
    let (Mount::At(path) | Mount::Over(path)) = mount;
    let shown = path.display().to_string();
    let mounted = match mount {
        Mount::At(path) => is_mount_point(path),
        Mount::Over(path) => {
            let mut above = path.ancestors().filter(|folder| folder.parent().is_some());
            above.try_fold(false, |mounted, folder| Ok(mounted || is_mount_point(folder)?))
        }
    };
    match mounted {
        Ok(true) => Ok(()),
        Ok(false) => Err(SourceError::NotMounted { path: shown }),
        Err(source) => Err(SourceError::Mount { path: shown, source }),
    }
}

async fn on_host(host: &Host, what: &What, job: &Job<'_>) -> Result<Collected, SourceError> {
    match what {
        What::Files(files) => {
            let paths = files.paths.iter().chain(&files.if_present).map(Pattern::literal_prefix);
            let tree = RemoteTree::new(host.sftp(BYTES_AHEAD).await?, paths).await;
            Ok(collect::collect(&tree, job).await?)
        }
        What::Commands(list) => Ok(commands::collect(&Shell::There(host), list, job).await?),
    }
}
