"""Webhooks: a URL that is given with a run is posted to when the run ends.

What is guaranteed
- Every end of a run with a webhook makes one delivery, in the transaction that ends the run: both are there or neither.
  A run that is deleted before its end makes none.
- A delivery is sent at least once, and again until the receiver accepts it or WEBHOOK_RETRY_HOURS are over. All its
  attempts have the same body and the same `webhook-id`. Deliveries are not sent in order.
- No request leaves for an address that the rules refuse: the address is judged where the socket opens.

The life of a delivery
  `pending` -> `delivering` (claimed under a lease) -> `delivered`
  `delivering` -> `pending` (failed; it is due again after a pause), or `failed` (given up)
  `delivering` -> `pending` (the process died and its lease has expired)
  `pending` -> `held` (its endpoint is disabled) -> `pending` (a person enabled the endpoint)
  any but `delivering` -> `pending` (a person sends it again)
  Retention deletes deliveries, and so does the delete of their run or thread. A delivery that is `pending` or
  `delivering` then is sent first.

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
