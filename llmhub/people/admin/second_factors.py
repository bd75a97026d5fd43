"""Admin page of second factors, to remove those that users have lost."""

from __future__ import annotations

from typing import Any

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from llmhub.access.granting import may_manage
from llmhub.adminkit.secret_columns import SecretColumns
from llmhub.history.tab import HistoryTab

for model in (EmailAddress, Authenticator):
    admin.site.unregister(model)

Authenticator._meta.verbose_name = "second factor"
Authenticator._meta.verbose_name_plural = "second factors"


@admin.register(Authenticator)
class SecondFactorAdmin(HistoryTab, SecretColumns, ModelAdmin):  # type: ignore[misc]  # untyped
    """Permission to change users includes viewing and removing second factors, never their secrets."""

    secret_columns = frozenset({"data"})
    list_display = ("user", "created_at", "last_used_at")
    list_display_links = ("user",)
    list_select_related = ("user",)
    search_fields = ("user__username",)
    search_help_text = "Username"
    fields = ("user", "created_at", "last_used_at")
    ordering = ("user__username",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Authenticator]:
        return super().get_queryset(request).filter(type=Authenticator.Type.TOTP)  # type: ignore[no-any-return]  # untyped

    def has_view_permission(self, request: HttpRequest, obj: Authenticator | None = None) -> bool:
        return request.user.has_perm("auth.change_user")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Authenticator | None = None) -> bool:
        return False

    def has_delete_permission(self, request: Any, obj: Authenticator | None = None) -> bool:
        may_change: bool = request.user.has_perm("auth.change_user")
        return may_change and (obj is None or may_manage(request.user, obj.user))

    def has_module_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("auth.change_user")

    def delete_model(self, request: HttpRequest, obj: Authenticator) -> None:
        Authenticator.objects.filter(user_id=obj.user_id).delete()

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Authenticator]) -> None:
        """Delete recovery codes too: they replace the deleted factor."""
        Authenticator.objects.filter(user_id__in=list(queryset.values_list("user_id", flat=True))).delete()
