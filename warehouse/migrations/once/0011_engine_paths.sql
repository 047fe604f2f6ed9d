-- Providers that have their API below a path of their own: https://api.example.com/openai/v1/chat/completions.
-- Engines are at most some hundred rows: their lock is held for less than a second.
-- squawk-ignore-file constraint-missing-not-valid, ban-drop-constraint
alter table control.engines
drop constraint engines_base_url_check,
add constraint engines_base_url_check check (base_url ~ '^https?://[^/]+(/[^/]+)*$');
comment on column control.engines.base_url is
'Scheme, host, port and what stands before /v1; paths such as /v1/chat/completions are added by the router.';
