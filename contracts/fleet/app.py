"""The Celery application: what is set, and why."""

from __future__ import annotations

from typing import Any

from contracts import memory
from contracts.errors import missing_extra
from contracts.fleet.names import QueueName
from contracts.fleet.transport import OPTIONS, tls


def application(
    url: str,
    queue: QueueName,
    *,
    grace_s: float = 0.0,
    jobs_per_child: int = 1000,
    child_bytes: int = 0,
) -> Any:
    """A Celery application that takes messages from one queue and stores no results."""
    try:
        from celery import Celery
    except ImportError as error:
        raise missing_extra("celery", "fleet", "a worker of the fleet") from error
    app = Celery("sharder", broker=url, set_as_current=False)
    app.conf.update(
        # JSON only: a broker that was broken into must not run code here.
        accept_content=["json"],
        # … nor end the worker with what is no message at all.
        broker_transport="contracts.fleet.listen:CarefulTransport",
        task_serializer="json",
        # A task that dies with its process goes back to the queue, once it is known.
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        # One message per free process: those behind would wait though others are idle, and
        # `waiting` would not count them.
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        # The commit is the result.
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        worker_send_task_events=False,
        task_send_sent_event=False,
        # Whoever reaches the broker must not be able to stop workers; and no chatter between them.
        worker_enable_remote_control=False,
        task_default_queue=queue,
        task_create_missing_queues=True,
        broker_transport_options=OPTIONS,
        broker_use_ssl=tls(url),
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # A broker that comes back finds our tasks still running; they end with a commit.
        worker_cancel_long_running_tasks_on_connection_loss=False,
        # At SIGTERM running tasks may end for so long; then they go back to the queue.
        worker_soft_shutdown_timeout=grace_s,
        # A process ends after so many tasks or beyond so much memory (KiB, looked at after a task).
        worker_max_tasks_per_child=jobs_per_child,
        worker_max_memory_per_child=memory.recycle_bytes(child_bytes) // 1024,
        # Logs belong to the program.
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        enable_utc=True,
        timezone="UTC",
    )
    return app
