"""Addresses of the store pages, under /dashboard/."""

from django.urls import path

from store.pages import views

urlpatterns = [
    path("store", views.store, name="store"),
    path("store/save", views.item_save, name="store_save"),
    path("store/delete", views.item_delete, name="store_delete"),
]
