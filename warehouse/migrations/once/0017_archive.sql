-- History as Parquet: which files hold which days, how far they were checked, and the chain of daily digests.
create schema archive;

create table archive.files (
    day date not null,
    version integer not null check (version > 0),
    path text not null check (length(path) <= 200),
    usage_rows bigint not null check (usage_rows > 0),
    bytes bigint not null check (bytes > 0),
    sha256 bytea not null check (length(sha256) = 32),
    row_set_digest bytea not null check (length(row_set_digest) = 32),
    written_at timestamptz not null default now(),
    verified_at timestamptz,
    superseded_at timestamptz,
    dropped_at timestamptz,
    primary key (day, version),
    check (dropped_at is null or (verified_at is not null and superseded_at is null))
);
comment on table archive.files is
'One row per file written: a UTC day, and a version each time rows of it came late. The one in force is the last verified one.';
comment on column archive.files.row_set_digest is 'Of its rows, as raw.row_digest has it: equal digests are equal rows.';
comment on column archive.files.superseded_at is 'A later version has taken its place and the file was removed.';
comment on column archive.files.dropped_at is
'Since when the day''s rows are only here. Rows that come for such a day wait in raw.usage_events until the day is restored.';
create unique index files_dropped on archive.files (day) where dropped_at is not null;

-- Rows on their way back, within one transaction; empty outside it. Not logged: the file is the copy.
create unlogged table archive.incoming_rows (like raw.usage_events);

create table archive.daily_digests (
    sequence bigint primary key check (sequence > 0),
    day date not null,
    usage_rows bigint not null check (usage_rows >= 0),
    row_set_digest bytea not null check (length(row_set_digest) = 32),
    previous bytea not null check (length(previous) = 32),
    chain_hash bytea not null check (length(chain_hash) = 32),
    as_of_xid xid8 not null,
    made_at timestamptz not null default now()
);
comment on table archive.daily_digests is
'A chain of what the raw rows of each UTC day were. The last entry of a day is in force; an earlier one was before rows came late.';
comment on column archive.daily_digests.chain_hash is
'SHA-256 of previous, then ''sequence|day|usage_rows|row_set_digest in hex'' as text.';
create index daily_digests_day on archive.daily_digests (day, sequence desc);
