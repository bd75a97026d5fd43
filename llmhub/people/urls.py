"""The allauth pages in use. Pages not listed (sign-up, e-mail, passkeys) do not exist."""

from allauth.account import views as account
from allauth.mfa.base import views as second_factor
from allauth.mfa.recovery_codes import views as recovery_codes
from allauth.mfa.totp import views as totp
from django.urls import path
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from llmhub.people.sign_in import in_admin

TITLE = "Two-factor authentication"

urlpatterns = [
    path("login/", account.login, name="account_login"),
    path("logout/", require_POST(account.logout), name="account_logout"),
    path("inactive/", account.account_inactive, name="account_inactive"),
    path("reauthenticate/", never_cache(account.reauthenticate), name="account_reauthenticate"),
    path("2fa/", in_admin(second_factor.index, title=TITLE), name="mfa_index"),
    path("2fa/authenticate/", never_cache(second_factor.authenticate), name="mfa_authenticate"),
    path("2fa/reauthenticate/", never_cache(second_factor.reauthenticate), name="mfa_reauthenticate"),
    path("2fa/totp/activate/", in_admin(totp.activate_totp, title=TITLE), name="mfa_activate_totp"),
    path("2fa/totp/deactivate/", in_admin(totp.deactivate_totp, title=TITLE), name="mfa_deactivate_totp"),
    path(
        "2fa/recovery-codes/",
        in_admin(recovery_codes.view_recovery_codes, title=TITLE),
        name="mfa_view_recovery_codes",
    ),
    path(
        "2fa/recovery-codes/generate/",
        in_admin(recovery_codes.generate_recovery_codes, title=TITLE),
        name="mfa_generate_recovery_codes",
    ),
    path(
        "2fa/recovery-codes/download/",
        in_admin(recovery_codes.download_recovery_codes, title=TITLE),
        name="mfa_download_recovery_codes",
    ),
]
