//! What this database offers: tables, columns, indexes, grants.
