//! The key APIs of vendors that existing clients speak, on the clients' own listener.

mod dbt;
mod dbt_client;
mod dbt_flows;
mod exchange;
mod fixture;
mod userplane;
mod vultr;
