-- name: note
select control.note_budget_alerts()
