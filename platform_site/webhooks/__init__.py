"""Webhooks: a URL that is given with a run is posted to when the run ends.

What is guaranteed
- Every end of a run with a webhook is told at least once. The delivery is written in the transaction that ends the run,
  so the end and the delivery are there together or not at all. Of a run that was deleted nobody is told.
- All attempts of a delivery send the same body and the same `webhook-id`. Deliveries are not sent in order.
- No request leaves for an address that the rules refuse: the address is judged where the socket opens.

The life of a delivery
  `pending` -> `delivering` (claimed under a lease) -> `delivered`
  `delivering` -> `pending` (failed; it is due again after a pause), or `failed` (given up)
  `delivering` -> `pending` (the process died and its lease has expired)
  `pending` -> `held` (its endpoint is disabled) -> `pending` (a person enabled the endpoint)
  Retention deletes deliveries, and so does the delete of their run or thread; what is still owed then is sent first.

Who calls whom
- `apps` connects the hooks by which runs and threads tell and ask: a run ends (`outbox`), a run or a thread is deleted
  (`removal`), a run or a cron is given a webhook (`endpoint_rules`). Services of runs and crons import nothing of this
  app.
- `deliverer` is the background task: it takes due deliveries from `claims`, has them signed (`signatures`) and sent
  (`transport`), and lets `claims` write down the answer.
- `claims` decides with `retries` whether and when a delivery is sent again, and keeps the record of its endpoint
  (`endpoints`), which disables an endpoint that does not work.
- `endpoint_rules` says which URLs may be called, `addresses` which addresses; the deliverer asks both again.
- `services` and `selectors` are what people do and see: `pages` (dashboard), `admin`, the command `webhook_secret`.
"""
