// Before anything is painted: the theme chosen in the admin, else the system's.
const chosen = localStorage.getItem("adminTheme");
const isDark = chosen === '"dark"' || (chosen !== '"light"' && matchMedia("(prefers-color-scheme: dark)").matches);
document.documentElement.classList.toggle("dark", isDark);
