-- What engines say of themselves (`/metrics`), sampled; and what their GPUs cost.
alter table control.engines
add column gpus smallint not null default 0 check (gpus between 0 and 1024),
add column gpu_hour_picousd bigint not null default 0 check (gpu_hour_picousd between 0 and 1000000000000000);
comment on column control.engines.gpu_hour_picousd is 'Cost of one GPU for an hour, in pico-dollars.';
