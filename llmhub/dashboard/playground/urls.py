from django.contrib import admin
from django.urls import path

from llmhub.dashboard.playground import views

urlpatterns = [
    path("", admin.site.admin_view(views.playground), name="playground"),
    path("plan/", admin.site.admin_view(views.routing), name="playground-plan"),
    path("snippets/", admin.site.admin_view(views.snippets), name="playground-snippets"),
]
