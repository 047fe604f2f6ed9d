-- A budget that was soft has not been held meanwhile: what routers know of its windows is from before.
alter table control.budgets add column hold_version integer not null default 1;
comment on column control.budgets.hold_version is
'Another one whenever it begins to be held again, after it was soft or deleted: its windows are then summed up anew.';

create function control.hold_budget_anew() returns trigger
language plpgsql as $$
begin
    if (old.mode = 'soft' or old.deleted_at is not null) and new.mode <> 'soft' and new.deleted_at is null then
        new.hold_version := old.hold_version + 1;
    end if;
    return new;
end
$$;
create trigger hold_budget_anew before update of mode, deleted_at
on control.budgets for each row execute function control.hold_budget_anew();
