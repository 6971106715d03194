//! A bounded number of threads for jobs, and places for jobs that run elsewhere.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::{Worker, lock};

type Job = Box<dyn FnOnce() + Send>;

/// A job in a queue, and how to ask whether it has become pointless.
struct Waiting {
    job: Job,
    stale: Box<dyn Fn() -> bool + Send>,
}

/// A job was not taken: every thread is busy and every waiting place is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolFull;

/// A bounded number of threads behind a bounded queue. A thread is started when a job finds none
/// idle, and stays: a house without calls costs no stacks.
///
/// The queue is a lock and a condition, not a channel: channels spin and yield before they sleep,
/// which on two cores costs more than the whole hand-over.
pub struct Pool {
    shared: Arc<PoolShared>,
    name: String,
    stack_bytes: usize,
    workers: Mutex<Vec<Worker>>,
}

struct PoolShared {
    queue: Mutex<Queue>,
    wake: Condvar,
    /// Jobs that run at once, and threads for them, at most.
    running_max: usize,
    /// Jobs that run or wait, at most.
    jobs_max: usize,
}

/// A place in a pool for a job that runs on a thread that is there anyway; dropped, it is free again.
pub struct PoolPlace(Arc<PoolShared>);

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Waiting>,
    running: usize,
    idle: usize,
    started: usize,
    closed: bool,
}

impl Pool {
    /// A pool of at most `threads_max` threads named `name-0`, `name-1`, … with `waiting_max` places
    /// in its queue.
    #[must_use]
    pub fn new(name: &str, threads_max: usize, waiting_max: usize, stack_bytes: usize) -> Self {
        let jobs_max = threads_max + waiting_max;
        Self {
            shared: Arc::new(PoolShared {
                queue: Mutex::default(),
                wake: Condvar::new(),
                running_max: threads_max,
                jobs_max,
            }),
            name: name.to_owned(),
            stack_bytes,
            workers: Mutex::default(),
        }
    }

    /// Hands a job to the pool. `stale` says whether the job has become pointless while it waited;
    /// where there is no place left, such jobs are run at once on this thread, to be done with.
    /// Errors: [`PoolFull`], and the job is dropped.
    pub fn submit(
        &self,
        job: impl FnOnce() + Send + 'static,
        stale: impl Fn() -> bool + Send + 'static,
    ) -> Result<(), PoolFull> {
        let waiting = Waiting { job: Box::new(job), stale: Box::new(stale) };
        let starts = {
            let mut queue = lock(&self.shared.queue);
            if queue.is_full(self.shared.jobs_max) {
                let stale = queue.take_stale();
                drop(queue);
                for job in stale {
                    job();
                }
                queue = lock(&self.shared.queue);
            }
            if queue.closed || queue.is_full(self.shared.jobs_max) {
                return Err(PoolFull);
            }
            queue.jobs.push_back(waiting);
            let starts = queue.jobs.len() > queue.idle && queue.started < self.shared.running_max;
            queue.started += usize::from(starts);
            starts.then_some(queue.started)
        };
        self.shared.wake.notify_one();
        match starts.map(|number| self.start(number)) {
            Some(Err(error)) => self.start_failed(&error),
            _ => Ok(()),
        }
    }

    /// A place for a job that the caller runs on another thread, as if it ran here. `None`: all are
    /// taken, or others wait for one.
    #[must_use]
    pub fn enter(&self) -> Option<PoolPlace> {
        let mut queue = lock(&self.shared.queue);
        if queue.closed || queue.running + queue.jobs.len() >= self.shared.running_max {
            return None;
        }
        queue.running += 1;
        Some(PoolPlace(Arc::clone(&self.shared)))
    }

    fn start(&self, number: usize) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let name = format!("{}-{}", self.name, number - 1);
        let worker = Worker::spawn(&name, self.stack_bytes, move || {
            while let Some(job) = shared.next() {
                if catch_unwind(AssertUnwindSafe(job)).is_err() {
                    log::error!("a job ended by a panic; please report it");
                }
                lock(&shared.queue).running -= 1;
            }
        })?;
        lock(&self.workers).push(worker);
        Ok(())
    }

    /// The threads that there are go on; without any, the job is given back.
    fn start_failed(&self, error: &io::Error) -> Result<(), PoolFull> {
        log::error!("the system refuses another thread: {error}");
        let mut queue = lock(&self.shared.queue);
        queue.started -= 1;
        if queue.started > 0 {
            return Ok(());
        }
        let job = queue.jobs.pop_back();
        drop(queue);
        // Without the lock: what the job holds may be a place of this pool.
        drop(job);
        Err(PoolFull)
    }

    /// Takes no more jobs and joins the threads after those that are queued. Not from one of the
    /// pool's own threads: call it where the house is taken down, not where the last handle drops.
    pub fn close(&self) {
        lock(&self.shared.queue).closed = true;
        self.shared.wake.notify_all();
        let workers = std::mem::take(&mut *lock(&self.workers));
        drop(workers);
    }
}

impl Queue {
    fn is_full(&self, jobs_max: usize) -> bool {
        self.running + self.jobs.len() >= jobs_max
    }

    fn take_stale(&mut self) -> Vec<Job> {
        let (stale, fresh) =
            std::mem::take(&mut self.jobs).into_iter().partition(|waiting| (waiting.stale)());
        self.jobs = fresh;
        let stale: VecDeque<Waiting> = stale;
        stale.into_iter().map(|waiting| waiting.job).collect()
    }
}

impl PoolShared {
    /// Waits for a job; `None` when the pool is closed and its queue empty.
    fn next(&self) -> Option<Job> {
        let mut queue = lock(&self.queue);
        loop {
            if queue.running < self.running_max
                && let Some(waiting) = queue.jobs.pop_front()
            {
                queue.running += 1;
                return Some(waiting.job);
            }
            if queue.closed && queue.jobs.is_empty() {
                return None;
            }
            queue.idle += 1;
            queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
            queue.idle -= 1;
        }
    }
}

impl Drop for PoolPlace {
    fn drop(&mut self) {
        let is_awaited = {
            let mut queue = lock(&self.0.queue);
            queue.running -= 1;
            queue.closed || !queue.jobs.is_empty()
        };
        if is_awaited {
            self.0.wake.notify_one();
        }
    }
}

impl fmt::Debug for PoolPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PoolPlace")
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("name", &self.name)
            .field("running_max", &self.shared.running_max)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crossbeam_channel::bounded;

    #[test]
    fn a_full_pool_refuses_and_a_panic_costs_one_job() {
        let pool = Pool::new("test", 1, 1, 128 * 1024);
        let (gate, wait) = bounded::<()>(0);
        let (said, hear) = bounded::<()>(4);
        let begun = said.clone();
        pool.submit(
            move || {
                begun.send(()).unwrap();
                wait.recv().unwrap();
                panic!("this panic belongs to the test");
            },
            || false,
        )
        .unwrap();
        hear.recv().unwrap();
        pool.submit(move || said.send(()).unwrap(), || false).unwrap();
        assert_eq!(pool.submit(|| {}, || false), Err(PoolFull));
        gate.send(()).unwrap();
        hear.recv_timeout(Duration::from_secs(10)).unwrap();
        pool.close();
        assert_eq!(pool.submit(|| {}, || false), Err(PoolFull));
    }

    #[test]
    fn a_pool_starts_threads_as_they_are_needed() {
        let pool = Pool::new("test", 2, 4, 128 * 1024);
        assert_eq!(lock(&pool.workers).len(), 0);
        // Jobs that wait for each other in pairs need both threads at once.
        let meeting = Arc::new(std::sync::Barrier::new(2));
        let (said, hear) = bounded::<()>(4);
        for _ in 0..4 {
            let (meeting, said) = (Arc::clone(&meeting), said.clone());
            pool.submit(
                move || {
                    meeting.wait();
                    said.send(()).unwrap();
                },
                || false,
            )
            .unwrap();
        }
        for _ in 0..4 {
            hear.recv_timeout(Duration::from_secs(10)).unwrap();
        }
        assert_eq!(lock(&pool.workers).len(), 2);
    }

    #[test]
    fn a_place_counts_as_a_job_and_whoever_waits_for_it_gets_it() {
        let pool = Pool::new("test", 1, 1, 128 * 1024);
        let place = pool.enter().unwrap();
        assert!(pool.enter().is_none());
        let (said, hear) = bounded::<()>(4);
        pool.submit(move || said.send(()).unwrap(), || false).unwrap();
        assert_eq!(pool.submit(|| {}, || false), Err(PoolFull));
        assert!(hear.try_recv().is_err());
        drop(place);
        hear.recv_timeout(Duration::from_secs(10)).unwrap();
        // The end waits for a job that waits for a place.
        let mut place = None;
        while place.is_none() {
            place = pool.enter();
        }
        let (said, hear) = bounded::<()>(4);
        pool.submit(move || said.send(()).unwrap(), || false).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| pool.close());
            drop(place);
        });
        hear.try_recv().unwrap();
        assert!(pool.enter().is_none());
    }

    #[test]
    fn a_full_pool_gets_rid_of_jobs_that_became_pointless() {
        let pool = Pool::new("test", 1, 1, 128 * 1024);
        let (gate, wait) = bounded::<()>(0);
        let (said, hear) = bounded::<&str>(4);
        let begun = said.clone();
        let first = move || {
            begun.send("begun").unwrap();
            assert!(wait.recv().is_err());
        };
        pool.submit(first, || false).unwrap();
        assert_eq!(hear.recv(), Ok("begun"));
        let second = said.clone();
        pool.submit(move || second.send("pointless").unwrap(), || true).unwrap();
        pool.submit(move || said.send("wanted").unwrap(), || false).unwrap();
        assert_eq!(hear.try_recv(), Ok("pointless"));
        drop(gate);
        assert_eq!(hear.recv_timeout(Duration::from_secs(10)), Ok("wanted"));
    }
}
