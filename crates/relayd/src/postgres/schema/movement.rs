//! Whether the rows of a database stay, come or went.

use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use super::Unusable;
use crate::postgres::link::Session;

/// Its rows are served.
pub(in crate::postgres) const STAYS: i32 = 0;
/// Rows are brought in.
pub(in crate::postgres) const COMING: i32 = 1;
/// They were brought out.
pub(in crate::postgres) const GONE: i32 = 2;

/// Whether its rows are to be served here.
// [SPEC 6.213]
pub(super) async fn check(session: &mut Session) -> Result<(), Unusable> {
    match read_moving(session).await {
        Ok(STAYS) => Ok(()),
        Ok(COMING) => Err(Unusable::HalfImported),
        Ok(_) => Err(Unusable::Exported),
        // What is wrong is said by who looks at the rest of it.
        Err(error)
            if matches!(
                error.code(),
                Some(&SqlState::UNDEFINED_TABLE | &SqlState::UNDEFINED_COLUMN)
            ) =>
        {
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// Where the rows of a database are going.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::postgres) struct Movement {
    /// [`STAYS`], [`COMING`] or [`GONE`].
    pub(in crate::postgres) to: i32,
    /// The hash of the file whose rows come, or came last.
    pub(in crate::postgres) import: Option<Vec<u8>>,
}

async fn read_moving(session: &mut Session) -> Result<i32, Error> {
    let row = session
        .client
        .query_opt("SELECT moving FROM emptyroom WHERE id = 1", &[]);
    row.await?.map_or(Ok(STAYS), |row| row.try_get(0))
}

/// Where its rows are going.
pub(in crate::postgres) async fn movement(session: &mut Session) -> Result<Movement, Error> {
    let sql = "SELECT moving, import FROM emptyroom WHERE id = 1";
    let row = session.client.query_one(sql, &[]).await?;
    Ok(Movement {
        to: row.try_get(0)?,
        import: row.try_get(1)?,
    })
}
