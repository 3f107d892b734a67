//! Where rows are put back: the tables as they are now.

use std::collections::BTreeMap;

use sqlx::Row as _;

use crate::dify::retention::rows::{Column, Shape};
use crate::dify::session::{DatabaseError, ReadTx, query};

/// Why archived rows have no place in this database.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotRestore {
    /// The table is gone.
    #[error("this version of Dify has no table {table}, from which the rows were archived")]
    NoTable {
        /// The table.
        table: String,
    },
    /// A key column is gone.
    #[error("column {table}.{column}, a part of the archived rows' key, is not there any more")]
    NoKey {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// A new column must have a value, and the archived rows have none for it.
    #[error(
        "column {table}.{column} may not be empty and has no default, and the archived rows are from a version of Dify without it; \
         give it one for the time being: ALTER TABLE {table} ALTER COLUMN {column} SET DEFAULT <value>"
    )]
    NoDefault {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// A column has another type now.
    #[error("column {table}.{column} was archived as {archived} and is {now} here; values cannot be taken over unchanged")]
    Type {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// Its type then.
        archived: String,
        /// Its type now.
        now: String,
    },
}

/// The tables of this database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Destination {
    tables: BTreeMap<String, Vec<Place>>,
}

/// A column of today.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) name: String,
    pub(super) data_type: String,
    generated: bool,
    /// It must have a value and has no default.
    required: bool,
}

impl Destination {
    /// Reads the catalogue: one statement.
    pub async fn read(tx: &mut ReadTx) -> Result<Destination, DatabaseError> {
        let mut destination = Destination::default();
        for row in tx.fetch_all(query(include_str!("../../queries/restore_columns.sql"))).await? {
            destination.tables.entry(row.try_get("table_name")?).or_default().push(Place {
                name: row.try_get("column_name")?,
                data_type: row.try_get("data_type")?,
                generated: row.try_get("generated")?,
                required: row.try_get("required")?,
            });
        }
        Ok(destination)
    }

    /// Whether rows of this shape have a place here; the names of the columns that have none.
    pub fn accepts(&self, shape: &Shape) -> Result<Vec<String>, CannotRestore> {
        let places = self.places(shape)?;
        Ok(shape.columns.iter().zip(places).filter(|(_, place)| place.is_none()).map(|(column, _)| column.name.clone()).collect())
    }

    /// The place of each archived column, by name.
    pub(super) fn places(&self, shape: &Shape) -> Result<Vec<Option<&Place>>, CannotRestore> {
        let table = &shape.table;
        let Some(now) = self.tables.get(table) else { return Err(CannotRestore::NoTable { table: table.clone() }) };
        if let Some(place) = now.iter().find(|place| place.required && !shape.columns.iter().any(|column| column.name == place.name)) {
            return Err(CannotRestore::NoDefault { table: table.clone(), column: place.name.clone() });
        }
        let mut places = Vec::new();
        for (position, column) in shape.columns.iter().enumerate() {
            let place = now.iter().find(|place| place.name == column.name && !place.generated);
            match place {
                None if shape.key.contains(&position) => {
                    return Err(CannotRestore::NoKey { table: table.clone(), column: column.name.clone() });
                }
                Some(place) if !fits(column, place) => {
                    return Err(CannotRestore::Type {
                        table: table.clone(),
                        column: column.name.clone(),
                        archived: column.data_type.clone(),
                        now: place.data_type.clone(),
                    });
                }
                _ => places.push(place),
            }
        }
        Ok(places)
    }
}

/// Whether every value of the archived column can be the same value in the place: what does not fit, such as a longer text, is then an
/// error and never a changed value.
fn fits(column: &Column, place: &Place) -> bool {
    let (was, is) = (base(&column.data_type), base(&place.data_type));
    let one_of = |names: &[&str], name: &str| names.contains(&name);
    was == is
        || one_of(&TEXTS, &is)
        || (one_of(&INTEGERS, &was) && (one_of(&INTEGERS, &is) || is == "numeric"))
        || (one_of(&TEXTS, &was) && one_of(&["uuid", "json", "jsonb"], &is))
        || (was == "json" && is == "jsonb")
        || (was == "real" && is == "double precision")
}

const TEXTS: [&str; 2] = ["text", "character varying"];
pub(super) const INTEGERS: [&str; 3] = ["smallint", "integer", "bigint"];

/// A type without its modifier: `character varying` of `character varying(255)`.
pub(super) fn base(data_type: &str) -> String {
    match (data_type.find('('), data_type.find(')')) {
        (Some(open), Some(close)) if open < close => format!("{}{}", &data_type[..open], &data_type[close + 1..]),
        _ => data_type.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dify::retention::rows::Wire;

    fn column(name: &str, data_type: &str) -> Column {
        Column { name: name.into(), data_type: data_type.into(), wire: Wire::Cast }
    }

    fn place(name: &str, data_type: &str, required: bool) -> Place {
        Place { name: name.into(), data_type: data_type.into(), generated: false, required }
    }

    fn destination(places: Vec<Place>) -> Destination {
        Destination { tables: [("t".to_owned(), places)].into() }
    }

    fn shape(columns: Vec<Column>) -> Shape {
        Shape { table: "t".into(), columns, key: vec![0] }
    }

    #[test]
    fn what_this_version_does_not_have_is_left_out() {
        let shape = shape(vec![column("id", "uuid"), column("sequence_number", "integer")]);
        assert_eq!(destination(vec![place("id", "uuid", true)]).accepts(&shape).unwrap(), ["sequence_number"]);
    }

    #[test]
    fn what_must_be_there_and_is_not_archived_is_named() {
        let error = destination(vec![place("id", "uuid", true), place("mood", "text", true)]).accepts(&shape(vec![column("id", "uuid")]));
        assert!(error.unwrap_err().to_string().contains("t.mood"));
        let kept = destination(vec![place("id", "uuid", true), place("mood", "text", false)]);
        assert_eq!(kept.accepts(&shape(vec![column("id", "uuid")])), Ok(vec![]));
    }

    #[test]
    fn only_what_keeps_every_value_is_a_fitting_type() {
        let fits = |was: &str, is: &str| fits(&column("c", was), &place("c", is, false));
        assert!(fits("character varying(255)", "text") && fits("text", "character varying(255)") && fits("uuid", "character varying(36)"));
        assert!(fits("numeric(10,4)", "numeric(10,7)") && fits("integer", "bigint") && fits("json", "jsonb"));
        assert!(!fits("timestamp without time zone", "date") && !fits("double precision", "integer") && !fits("text", "integer"));
    }

    #[test]
    fn a_missing_table_is_named() {
        let error = Destination::default().accepts(&shape(vec![column("id", "uuid")])).unwrap_err();
        assert!(error.to_string().contains("no table t"), "{error}");
    }
}
