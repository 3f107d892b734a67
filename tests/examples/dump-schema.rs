//! Prints the schema of a database that Dify's own migrations made, in the format of `tests/schemas/`.
#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use dify_observe_tests::Schema;
use sqlx::{Connection as _, PgConnection};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(version)) = (arguments.next(), arguments.next()) else {
        anyhow::bail!("usage: dump-schema DATABASE_URL VERSION");
    };
    let mut connection = PgConnection::connect(&url).await?;
    print!("{}", Schema::read(&mut connection, &version).await?.to_file_text());
    Ok(())
}
