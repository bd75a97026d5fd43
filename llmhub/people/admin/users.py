"""Admin pages of users."""

from __future__ import annotations

from typing import Any

from allauth.mfa.models import Authenticator
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import Exists, ManyToManyField, Model, OuterRef, Prefetch, QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from llmhub.access.granting import may_manage
from llmhub.history.tab import HistoryTab
from llmhub.people.admin.permission_choices import GrantingForm, PermissionsField, assignable_permissions

admin.site.unregister(User)

ROLE_COLOURS = {"superuser": "primary", "staff": "info", "no admin access": "warning", "disabled": "danger"}


class UserForm(GrantingForm, UserChangeForm):  # type: ignore[misc]  # unfold is untyped
    def clean(self) -> Any:
        cleaned = super().clean()
        is_superuser_still = all(self.cleaned_data.get(name, True) for name in ("is_active", "is_superuser"))
        if self.instance.pk and not is_superuser_still and not others_remain([self.instance.pk]):
            raise ValidationError("This is the last active superuser; the hub needs one.")
        return cleaned


def others_remain(pks: list[int]) -> bool:
    """Whether an active superuser remains without these; locks superusers until the transaction ends."""
    superusers = User.objects.select_for_update().filter(is_superuser=True, is_active=True).order_by("pk")
    superuser_pks = set(superusers.values_list("pk", flat=True))
    return not superuser_pks & set(pks) or bool(superuser_pks - set(pks))


@admin.register(User)
class UserAdmin(HistoryTab, DjangoUserAdmin, ModelAdmin):  # type: ignore[misc, type-arg]  # unfold is untyped
    form = UserForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "full_name", "group_names", "role", "two_factor", "last_sign_in")
    list_filter = ("is_active", "is_staff", "is_superuser", "groups")
    readonly_fields = ("two_factor", "last_login", "date_joined")
    filter_horizontal = ("user_permissions",)
    actions = ("reset_two_factor",)
    add_fieldsets = ((None, {"fields": ("username", "password1", "password2")}),)
    fieldsets = (
        (None, {"fields": ("username", "password", "first_name", "last_name", "email")}),
        ("Permissions", {"fields": ("is_active", "is_staff", "is_superuser", "groups", "user_permissions")}),
        ("Sign-in", {"fields": ("two_factor", "last_login", "date_joined")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        totp = Authenticator.objects.filter(user=OuterRef("pk"), type=Authenticator.Type.TOTP)
        users: QuerySet[User] = super().get_queryset(request)
        groups = Prefetch("groups", Group.objects.order_by("name"))
        return users.prefetch_related(groups).annotate(has_totp=Exists(totp))

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        """Prevent self-lockout; only superusers appoint superusers."""
        own_flags = ("is_active", "is_staff", "is_superuser") if obj and obj.pk == request.user.pk else ()
        superuser_only = () if request.user.is_superuser else ("is_superuser",)
        return (*self.readonly_fields, *dict.fromkeys((*own_flags, *superuser_only)))

    def get_form(self, request: Any, obj: User | None = None, change: bool = False, **kwargs: Any) -> Any:
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        form.actor = request.user
        return form

    def formfield_for_manytomany(self, db_field: ManyToManyField[Any, Any], request: Any, **kwargs: Any) -> Any:
        if db_field.name == "user_permissions":
            kwargs |= {"form_class": PermissionsField, "queryset": assignable_permissions()}
        else:
            kwargs |= {
                "widget": UnfoldAdminCheckboxSelectMultipleWidget,
                "help_text": "The permissions of all groups add up.",
            }
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def has_change_permission(self, request: Any, obj: Model | None = None) -> bool:
        allowed: bool = super().has_change_permission(request, obj)
        return allowed and (not isinstance(obj, User) or may_manage(request.user, obj))

    def has_delete_permission(self, request: Any, obj: Model | None = None) -> bool:
        allowed: bool = super().has_delete_permission(request, obj)
        if not allowed or not isinstance(obj, User):
            return allowed
        return obj.pk != request.user.pk and may_manage(request.user, obj)

    @transaction.atomic
    def delete_model(self, request: HttpRequest, obj: User) -> None:
        if not others_remain([obj.pk]):
            raise PermissionDenied
        super().delete_model(request, obj)

    @transaction.atomic
    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        if not others_remain([user.pk for user in queryset]):
            raise PermissionDenied
        super().delete_queryset(request, queryset)

    @admin.action(description="Reset two-factor", permissions=["change"])
    def reset_two_factor(self, request: Any, users: QuerySet[User]) -> None:
        managed = [user for user in users if may_manage(request.user, user)]
        _, removed = Authenticator.objects.filter(user__in=managed, type=Authenticator.Type.TOTP).delete()
        Authenticator.objects.filter(user__in=managed).delete()
        reset = removed.get(Authenticator._meta.label, 0)
        message = f"{reset} reset: these users sign in with their password only, until they set it up again."
        self.message_user(request, message, messages.SUCCESS if reset else messages.WARNING)
        if skipped := len(users) - len(managed):
            self.message_user(request, f"{skipped} skipped: they have more permissions than you.", messages.WARNING)

    @admin.display(description="name")
    def full_name(self, user: User) -> str:
        return user.get_full_name() or "–"

    @admin.display(description="groups")
    def group_names(self, user: User) -> str:
        return ", ".join(group.name for group in user.groups.all()) or "–"

    @display(description="role", label=ROLE_COLOURS)  # type: ignore[untyped-decorator]  # untyped
    def role(self, user: User) -> str:
        if not user.is_active:
            return "disabled"
        if user.is_superuser:
            return "superuser"
        return "staff" if user.is_staff else "no admin access"

    @display(description="two-factor", label={"on": "success", "off": "info"})  # type: ignore[untyped-decorator]  # untyped
    def two_factor(self, user: Any) -> str:
        return "on" if getattr(user, "has_totp", False) else "off"

    @admin.display(description="last sign-in", ordering="last_login", empty_value="never")
    def last_sign_in(self, user: User) -> Any:
        return user.last_login
