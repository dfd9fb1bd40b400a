//! What a CronJob's Jobs say about its status and about which of them to delete.

use super::view::{ActiveJob, Concurrency, CronJobStatus, CronJobView};
use crate::job::JobView;
use crate::runtime::EventKind;
use std::sync::Arc;

/// An event to be told: kind, reason, message.
pub(super) type News = (EventKind, &'static str, String);

/// Brings the list of running Jobs up to date.
pub(super) fn settle(status: &mut CronJobStatus, jobs: &[Arc<JobView>]) -> Vec<News> {
    let mut news = Vec::new();
    for job in jobs {
        let listed = status.runs(&job.meta.uid);
        let name = job.meta.name();
        match job.status.end() {
            None if !listed => {
                let text =
                    format!("Saw a job that the controller did not create or forgot: {name}");
                news.push((EventKind::Warning, "UnexpectedJob", text));
            }
            Some(end) if listed => {
                status.active.retain(|active| *active.uid != *job.meta.uid);
                let text = format!("Saw completed job: {name}, condition: {}", end.kind);
                news.push((EventKind::Normal, "SawCompletedJob", text));
            }
            _ => {}
        }
        if job.status.holds("Complete").is_some() {
            status.last_successful_time =
                status.last_successful_time.max(job.status.completion_time);
        }
    }
    status.active.retain(|active| {
        let there = jobs.iter().any(|job| *job.meta.uid == *active.uid);
        if !there {
            let text = format!("Active job went missing: {}", active.name);
            news.push((EventKind::Normal, "MissingJob", text));
        }
        there
    });
    news
}

/// What to do about Jobs that still run when a new one is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Overlap {
    /// The new one starts; first these are deleted.
    Start(Vec<ActiveJob>),
    /// The new one is left out.
    Skip,
}

/// Decides what happens to overlapping Jobs.
pub(super) fn overlap(cron_job: &CronJobView, status: &CronJobStatus) -> Overlap {
    match cron_job.spec.concurrency_policy {
        Concurrency::Forbid if !status.active.is_empty() => Overlap::Skip,
        Concurrency::Replace => Overlap::Start(status.active.clone()),
        Concurrency::Allow | Concurrency::Forbid => Overlap::Start(Vec::new()),
    }
}

/// Finished Jobs beyond the limits, oldest first.
pub(super) fn outdated(cron_job: &CronJobView, jobs: &[Arc<JobView>]) -> Vec<Arc<JobView>> {
    let beyond = |kind: &str, limit: Option<usize>| {
        let mut ended: Vec<_> = jobs
            .iter()
            .filter(|job| job.status.holds(kind).is_some())
            .collect();
        ended.sort_by_key(|job| {
            // One that never started is taken for the newest.
            let start = job.status.start_time;
            (start.is_none(), start, Arc::clone(&job.meta.key.name))
        });
        let surplus = limit.map_or(0, |limit| ended.len().saturating_sub(limit));
        ended
            .into_iter()
            .take(surplus)
            .map(Arc::clone)
            .collect::<Vec<_>>()
    };
    let mut outdated = beyond("Complete", cron_job.spec.successful_jobs_history_limit);
    outdated.extend(beyond("Failed", cron_job.spec.failed_jobs_history_limit));
    outdated.retain(|job| !job.meta.is_deleting());
    outdated
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
