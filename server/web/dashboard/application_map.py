"""The dashboard's pages about applications and the audit log, joined to those of `map.py` by the URL map."""

from __future__ import annotations

from typing import Final

from server.domain.client_logos import LARGEST_UPLOAD
from server.web.dashboard import (
    application_changes,
    application_logo,
    application_secrets,
    applications,
    audit_log,
    quick_start,
    test_flow,
)
from server.web.dashboard.page import GET, POST, Page
from server.web.dashboard.shell import INSIDE

_ALL: Final = f"{INSIDE}/applications"
_NEW: Final = f"{_ALL}/new/<client_type>"
_ONE: Final = f"{_ALL}/<client_id>"
_NEW_SECRET: Final = f"{_ONE}/secrets/new"
_END_SECRET: Final = f"{_ONE}/secrets/<secret_id>/end"
_READ: Final = "clients:read"
_WRITE: Final = "clients:write"

APPLICATION_PAGES: Final[tuple[Page, ...]] = (
    # path, endpoint, methods, what answers, permission, whether dangerous, what shows the form again
    Page(_ALL, "dashboard.applications", GET, applications.show_applications, _READ),
    Page(f"{_ALL}/new", "dashboard.application_types", GET, applications.show_types, _WRITE),
    Page(_NEW, "dashboard.new_application", GET, applications.show_new_application, _WRITE, True),
    Page(_NEW, "dashboard.create_application", POST, applications.create_application, _WRITE, True,
         applications.show_new_application),
    Page(_ONE, "dashboard.application", GET, applications.show_application, _READ),
    Page(f"{_ONE}/edit", "dashboard.show_edit_application", GET, application_changes.show_edit, _WRITE, True),
    Page(f"{_ONE}/edit", "dashboard.edit_application", POST, application_changes.save_edit, _WRITE, True,
         application_changes.show_edit),
    Page(f"{_ONE}/disable", "dashboard.show_disable_application", GET, application_changes.show_disable, _WRITE, True),
    Page(f"{_ONE}/disable", "dashboard.disable_application", POST, application_changes.disable, _WRITE, True,
         application_changes.show_disable),
    Page(f"{_ONE}/enable", "dashboard.show_enable_application", GET, application_changes.show_enable, _WRITE, True),
    Page(f"{_ONE}/enable", "dashboard.enable_application", POST, application_changes.enable, _WRITE, True,
         application_changes.show_enable),
    Page(f"{_ONE}/delete", "dashboard.show_delete_application", GET, application_changes.show_delete, _WRITE, True),
    Page(f"{_ONE}/delete", "dashboard.delete_application", POST, application_changes.delete, _WRITE, True,
         application_changes.show_delete),
    Page(_NEW_SECRET, "dashboard.new_secret", GET, application_secrets.show_new_secret, _WRITE, True),
    Page(_NEW_SECRET, "dashboard.create_secret", POST, application_secrets.create_secret, _WRITE, True,
         application_secrets.show_new_secret),
    Page(_END_SECRET, "dashboard.show_end_secret", GET, application_secrets.show_end_secret, _WRITE, True),
    Page(_END_SECRET, "dashboard.end_secret", POST, application_secrets.end_secret, _WRITE, True,
         application_secrets.show_end_secret),
    Page(f"{_ONE}/logo", "dashboard.application_logo", GET, application_logo.show_logo, _WRITE),
    Page(f"{_ONE}/logo", "dashboard.save_application_logo", POST, application_logo.save_logo, _WRITE,
         again=application_logo.show_logo, maximum_body_bytes=LARGEST_UPLOAD),
    Page(f"{_ONE}/quick-start", "dashboard.quick_start", GET, quick_start.show_quick_start, _READ),
    Page(f"{_ONE}/test-flow", "dashboard.test_flow", GET, test_flow.show_test_flow, _READ),
    Page(f"{_ONE}/test-flow", "dashboard.explain_answer", POST, test_flow.explain_answer, _READ,
         again=test_flow.show_test_flow),
    Page(f"{INSIDE}/audit-log", "dashboard.audit_log", GET, audit_log.show_audit_log, "audit:read"),
    Page(f"{INSIDE}/audit-log/export", "dashboard.export_audit_log", POST, audit_log.export_audit_log, "audit:read",
         again=audit_log.show_audit_log),
)  # fmt: skip
