//! What runs out, and what must be sealed anew: in slices, between batches. All nodes do it; none waits for another.

use tokio_postgres::{Error, Row};

use super::fetch::lasting_of;
use super::link::Session;
use super::schema::{create_entries, entries_of};
use super::*;

/// Rows that one slice is about.
// [SPEC 6.206]
const SLICE_ROWS: i64 = 256;

/// Whatever this machine's clock says: only what is over by the server's, too, and for every node that it lets in.
// [SPEC 6.204]
const RUN_OUT: &str = "DELETE FROM lasting WHERE key IN
    (SELECT key FROM lasting WHERE shard IS NULL AND day < least($1::int4,
        CAST(floor((extract(epoch FROM clock_timestamp()) - 3600) / 86400) AS int4)) LIMIT $2 FOR UPDATE SKIP LOCKED)";
const OLD: &str = "SELECT key, turn, sealed FROM lasting WHERE turn < $1 AND turn >= $3 LIMIT $2 FOR UPDATE SKIP LOCKED";
const AGAIN: &str = "UPDATE lasting SET turn = $2, sealed = u.s
    FROM unnest($1::bytea[], $3::bytea[]) AS u(k, s) WHERE lasting.key = u.k";

/// Keys of rows.
type Places = Vec<[u8; 32]>;

/// How far a slice came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Slice {
    /// There is more to do.
    More,
    /// For now there is not.
    Done,
}

impl PostgresRows {
    /// Removes what is over. Rows of logs that ran out, which may be many, go in slices ([`Self::upkeep`]); nobody looks at them meanwhile.
    pub(super) fn try_expire(&mut self, today: Day) -> Result<(), StoreFailure> {
        let asked = self.link.run(Phase::Before, async |session| {
            Ok(schema::read_clock(session).await)
        })?;
        let server = asked.map_err(|unusable| {
            self.link.disconnect();
            unusable.failure()
        })?;
        self.server = Some(server);
        self.tell(today);
        let oldest = self.oldest_turn()?;
        // The keys go first: from then on nothing of those days opens, wherever copies of it lie.
        // [SPEC 6.205]
        let advanced = self.keys.advance(self.seat.shard, today, oldest);
        advanced.map_err(|error| error.failure("writing the day keys"))?;
        // Tables go by both clocks.
        // [SPEC 6.206]
        let kept = today.min(server.over_for_all());
        let over: Vec<Day> = self.days.range(..kept).copied().collect();
        let missing: Vec<Day> = LIVES
            .iter()
            .map(|life| today.plus(*life))
            .filter(|day| !self.days.contains(day))
            .collect();
        self.link.run(Phase::Before, async |session| {
            let outcome = turn_over(session, &over, &missing).await;
            outcome.map_err(|error| failure(&error, Phase::Before))
        })?;
        self.days.retain(|day| *day >= kept);
        self.days.extend(missing);
        let keys = self.keys.clone();
        let check_at = move |day| keys.lock().check_at(day);
        self.link.run(Phase::Before, async |session| {
            let moved = schema::move_check(session, check_at, today).await;
            moved.map_err(|error| failure(&error, Phase::Before))
        })?;
        Ok(())
    }

    /// The oldest turn that rows are sealed in; now, if there is none.
    fn oldest_turn(&mut self) -> Result<Turn, StoreFailure> {
        let now = Turn::of(self.today());
        // What is sealed in a turn that is over stays so until its day is.
        let first = number(self.keys.lock().turn().0);
        self.link.run(Phase::Before, async |session| {
            let row = session
                .client
                .query_one("SELECT min(turn) FROM lasting WHERE turn >= $1", &[&first])
                .await
                .map_err(|error| failure(&error, Phase::Before))?;
            let oldest: Option<i32> = row.try_get(0).unwrap_or(Some(0));
            Ok(oldest.map_or(now, |turn| Turn(u32::try_from(turn).unwrap_or(0))))
        })
    }

    /// A slice of what is to be done: removes lasting rows that ran out, seals anew those of the turn before.
    ///
    /// # Errors
    /// The database failed.
    // [SPEC 6.206]
    pub fn upkeep(&mut self) -> Result<Slice, StoreFailure> {
        self.batch = Batch::default();
        self.connect()?;
        let today = number(self.today().0);
        let removed = self.link.run(Phase::Before, async |session| {
            let statement = session.statement(RUN_OUT).await;
            let statement = statement.map_err(|error| failure(&error, Phase::Before))?;
            session
                .client
                .execute(&statement, &[&today, &SLICE_ROWS])
                .await
                .map_err(|error| failure(&error, Phase::Before))
        })?;
        if removed > 0 {
            return Ok(Slice::More);
        }
        if self.tend_pointers()? > 0 {
            return Ok(Slice::More);
        }
        if self.swept == Turn::of(self.today()) {
            return Ok(Slice::Done);
        }
        self.seal_anew()
    }

    fn seal_anew(&mut self) -> Result<Slice, StoreFailure> {
        let keys = self.keys.clone();
        let now = Turn::of(self.today());
        let sealed = self.link.run(Phase::Before, async |session| {
            seal_anew(session, &keys, now).await
        })?;
        if sealed > 0 {
            return Ok(Slice::More);
        }
        // Other nodes may be at the rest, and may not come to its end.
        if self.oldest_turn()? >= now {
            self.swept = now;
        }
        Ok(Slice::Done)
    }
}

/// Drops the tables of days that are over, and makes those of days to come.
async fn turn_over(session: &mut Session, over: &[Day], missing: &[Day]) -> Result<(), Error> {
    for day in over {
        let name = entries_of(*day);
        let drop = format!("DROP TABLE IF EXISTS {name}");
        session.client.batch_execute(&drop).await?;
        session.forget(&name);
    }
    for day in missing {
        session.client.batch_execute(&create_entries(*day)).await?;
    }
    Ok(())
}

async fn seal_anew(
    session: &mut Session,
    keys: &SharedKeys,
    now: Turn,
) -> Result<usize, StoreFailure> {
    let before = |error: Error| failure(&error, Phase::Before);
    let old = session.statement(OLD).await.map_err(before)?;
    let again = session.statement(AGAIN).await.map_err(before)?;
    let transaction = session.client.transaction().await.map_err(before)?;
    let before_turn = number(now.0);
    let first = number(keys.lock().turn().0);
    let rows = transaction
        .query(&old, &[&before_turn, &SLICE_ROWS, &first])
        .await
        .map_err(before)?;
    let (now, places, sealed) = again_under(keys, rows, now)?;
    let keys: Vec<&[u8]> = places.iter().map(<[u8; 32]>::as_slice).collect();
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 3] = [&keys, &number(now.0), &sealed];
    transaction.execute(&again, &values).await.map_err(before)?;
    transaction.commit().await.map_err(before)?;
    Ok(sealed.len())
}

/// The same rows, sealed under the key of a turn that is not before this one.
fn again_under(
    keys: &SharedKeys,
    rows: Vec<Row>,
    now: Turn,
) -> Result<(Turn, Places, Vec<Vec<u8>>), StoreFailure> {
    let mut keys = keys.lock();
    let now = keys
        .take_turn(now)
        .ok_or(StoreFailure::Broken("a turn without its key"))?;
    let (mut places, mut sealed) = (Vec::new(), Vec::new());
    for row in rows {
        let (key, turn, row) =
            lasting_of(&row).ok_or(StoreFailure::Broken("a row of another shape"))?;
        let Some(row) = keys.open_lasting(turn, &key, row)? else {
            continue;
        };
        let row = keys.seal_lasting(now, &key, &row);
        places.push(key.0);
        sealed.push(row.ok_or(StoreFailure::Broken("sealing"))?);
    }
    Ok((now, places, sealed))
}
